"""What several families share: blocks of layers by name, attention, initial weights.

Values are [B, C, H, W], those of transformers too: a token is a place, and its weights are a 1×1 convolution. They are
tensors or carriers. Layers keep the names that they are given, and are made and run in that order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)
#: Makes a layer of neurons.
Neuron: TypeAlias = Callable[[], nn.Module]
#: What makes each network of a family, called with `num_classes`, `in_channels`, `neuron` and `init`.
Networks: TypeAlias = Mapping[str, Callable[..., nn.Module]]


class NamedSequential(nn.ModuleDict):
    """Layers by name, one after another. Those in a `ModuleList` run as if they stood here themselves."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, x: Any) -> Any:
        for layer in _one_by_one(self.values()):
            x = layer(x)
        return x


def _one_by_one(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """The layers, with the layers of a list in its place.

    A `Sequential` of a network's stages would keep memory: while a module runs, torch keeps a reference to its input.
    """
    for layer in layers:
        if isinstance(layer, nn.ModuleList):
            yield from _one_by_one(layer)
        else:
            yield layer


class Residual(NamedSequential):
    """Layers one after another, and a shortcut past them.

    `Residual(conv=conv, shortcut=projection, neuron=neuron)` is neuron(conv(x) + projection(x)), and without the layer
    called `shortcut` x itself is added at the end. With `after` x is not the input, but the output of the layer of that
    name.
    """

    def __init__(self, *, after: str = "", **layers: nn.Module) -> None:
        super().__init__(**layers)
        self.after = after

    def forward(self, x: Any) -> Any:
        out = x
        for name, layer in self.items():
            out = out + layer(x) if name == "shortcut" else layer(out)
            if name == self.after:
                x = out
        return out if "shortcut" in self else out + x


class TransformerBlock(NamedSequential):
    """Each layer's output is added to its input: x + attention, then x + MLP."""

    def forward(self, x: Any) -> Any:
        for layer in self.values():
            x = x + layer(x)  # not layer(x) + x: a sum has the memory format of its first operand
        return x


class Transformer(NamedSequential):
    """Layers, the last of which is the `head`: it gets the mean over tokens, [B, C, H, W] → [B, C].

    If shortcuts carry currents, a `neuron` before the head gets the mean, so that the head gets spikes.
    """

    def forward(self, x: Any) -> Any:
        first_behind_mean = "neuron" if "neuron" in self else "head"
        for name, layer in self.items():
            if name == first_behind_mean:
                x = x.mean((2, 3))
            for part in _one_by_one([layer]):
                x = part(x)
        return x


def conv_norm(
    in_channels: int, channels: int, kernel: int = 1, stride: int = 1, *, bias: bool = False
) -> nn.Sequential:
    """Convolution and batch norm: [B, in_channels, H, W] → [B, channels, ⌈H / stride⌉, ⌈W / stride⌉]."""
    convolution = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


def spiking_convolutions(
    in_channels: int, widths: Sequence[int], pooled: Sequence[bool], neuron: Neuron
) -> nn.Sequential:
    """For each width conv 3×3, batch norm, a max pool 3×3 of stride 2 if it is `pooled`, neuron.

    [B, in_channels, H, W] → [B, widths[-1], ⌈H / 2ᵖ⌉, ⌈W / 2ᵖ⌉] for p pools.
    """
    stages = nn.Sequential()
    for width, pools in zip(widths, pooled, strict=True):
        pool = [nn.MaxPool2d(3, 2, padding=1)] if pools else []
        stages.append(nn.Sequential(*conv_norm(in_channels, width, 3), *pool, neuron()))
        in_channels = width
    return stages


# ResNets


def projection(
    in_channels: int,
    channels: int,
    stride: int,
    *,
    bias: bool = False,
    average_pool: bool = False,
    neuron: Neuron | None = None,
) -> nn.Module:
    """A block's shortcut: conv 1×1-BN, and the neuron if given, where the block changes the shape; else the identity.

    [B, in_channels, H, W] → [B, channels, ⌈H / stride⌉, ⌈W / stride⌉]. With `average_pool` a pool before the
    convolution halves the image, and not the convolution's stride; H and W must then be even.
    """
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    pool = [nn.AvgPool2d(stride)] if average_pool and stride != 1 else []
    convolution = conv_norm(in_channels, channels, 1, 1 if pool else stride, bias=bias)
    return nn.Sequential(*pool, *convolution, *([neuron()] if neuron else []))


class PreActBlock(Residual):
    """neuron-conv-BN twice, then + the shortcut, which carries currents: conv 1×1-BN where the shape changes.

    [B, in_channels, H, W] → [B, channels, ⌈H / stride⌉, ⌈W / stride⌉]. With `max_pool` a pool after the first batch
    norm halves the image, and not the first convolution's stride; `average_pool` is that of `projection`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        neuron: Neuron,
        *,
        bias: bool = False,
        max_pool: bool = False,
        average_pool: bool = False,
    ) -> None:
        pool: dict[str, Any] = {"pool": nn.MaxPool2d(3, stride, padding=1)} if max_pool and stride != 1 else {}
        super().__init__(
            neuron1=neuron(),
            conv1=nn.Conv2d(in_channels, channels, 3, 1 if pool else stride, padding=1, bias=bias),
            bn1=nn.BatchNorm2d(channels),
            **pool,
            neuron2=neuron(),
            conv2=nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            bn2=nn.BatchNorm2d(channels),
            shortcut=projection(in_channels, channels, stride, bias=bias, average_pool=average_pool),
        )


def residual_stages(
    block: Callable[[int, int, int], nn.Module],
    counts: Sequence[int],
    widths: Sequence[int],
    channels: int,
    stride: int = 1,
) -> list[list[nn.Module]]:
    """The blocks of each stage, made by `block(in_channels, channels, stride)`, for an input with `channels` channels.

    The first block of the first stage has this `stride`, that of every other stage halves the image.
    """
    stages = []
    for count, width in zip(counts, widths, strict=True):
        first = block(channels, width, stride)
        stages.append([first, *(block(width, width, 1) for _ in range(count - 1))])
        channels, stride = width, 2
    return stages


# Spiking transformers


# The papers' factor is 1/8, for a neuron with half the threshold of the others. Twice that input gives the same
# spikes at their threshold.
ATTENTION_SCALE: Final = 0.25


def self_attention(q: Any, k: Any, v: Any) -> Any:
    """Spiking self-attention by heads, q·kᵀ·v / 4: spikes [B, heads, C / heads, tokens] → currents of this shape.

    Without a softmax (v·kᵀ)·q is the same, and cheaper where a head has fewer channels than there are tokens.
    """
    return (v @ k.transpose(-2, -1) * ATTENTION_SCALE) @ q


def qkv_attention(spikes: Any, heads: int) -> Any:
    """`self_attention` of queries, keys and values that follow in the channels: [B, 3·C, H, W] → [B, C, H, W]."""
    batch, _, height, width = spikes.shape
    q, k, v = spikes.reshape(batch, 3, heads, -1, height * width).unbind(1)
    return self_attention(q, k, v).reshape(batch, -1, height, width)


def spikes_mlp(width: int, neuron: Neuron, ratio: int = 4) -> NamedSequential:
    """The MLP of Spikformers, from spikes to spikes: conv 1×1, BN, neuron twice; `ratio` times as wide in between."""
    wide = ratio * width
    return NamedSequential(fc1=conv_norm(width, wide), neuron1=neuron(), fc2=conv_norm(wide, width), neuron2=neuron())


def currents_mlp(width: int, neuron: Neuron) -> NamedSequential:
    """The MLP of networks whose shortcuts carry currents: neuron, conv 1×1, BN twice; four times as wide in between."""
    wide = 4 * width
    return NamedSequential(
        neuron1=neuron(),
        fc1=conv_norm(width, wide, bias=True),
        neuron2=neuron(),
        fc2=conv_norm(wide, width, bias=True),
    )


# Initial weights


def initialised(model: Model, init: str, *, normal_deviation: float | None = None) -> Model:
    """The model itself, with its initial weights set.

    "kaiming": He-normal by fan-out for convolutions, by fan-in for linear layers, zero biases.
    "paper": the initial weights of the paper's networks. VGGs and transformers draw convolutions and linear layers from
    N(0, `normal_deviation`²); if a family gives no deviation, torch's own initialisation is kept.
    """
    if init not in ("kaiming", "paper"):
        raise ValueError(f"init is 'kaiming' or 'paper', got {init!r}")
    for module in model.modules():
        if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            continue
        if init == "kaiming":
            linear = isinstance(module, nn.Linear)
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if linear else "fan_out", nonlinearity="relu")
        elif normal_deviation is not None:
            nn.init.normal_(module.weight, 0.0, normal_deviation)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return model
