"""Self-distillation on firing rates (ESD, NeurIPS 2025): branches on inner layers, taught by the right outputs.

The rate methods train a network by the firing rates of its layers. A branch is an ordinary network, without spikes and
time, from the rates of one layer to the classes. The outputs o_k [B, C] are those of all branches and, last, the
network's own time mean. R = {k: argmax o_k = y} are the outputs of a sample that are right. Training minimises

    α·Σ_k L(o_k, y) + β·Σ_k KD_k        both sums over branches and the last output, both terms means over the batch

    KD_k = τ²·KL( softmax(m / τ) ‖ softmax(o_k / τ) ) with the teacher m = mean_{k ∈ R} o_k; 0 if R is empty

α = 1 (0.7 on ImageNet), β = 0.3, τ = 3.

* The teacher is a constant. The class of mixed labels is that with the largest share.
* Means are over all samples of the batch, with a teacher or without, so that parts of a batch add up to the whole.
* L is the run's loss, cross entropy by default, with what another teacher (`Distillation`) adds to it. The loss that is
  reported is that of the last output alone, without α.
* The authors divide all of it by T. So does `loss_scale="1/T"` of the rate methods, with the gradient of the whole
  step; nothing is divided here. For `bptt` nothing is divided at all, as for its other losses.
* What they published does not say whether τ² multiplies KL. Here it does, as in `Distillation` (Hinton et al., 2015).

A branch takes the mean over time, once in a step: with `rate_m`, with `rate_s` in its second phase, with `bptt`. The
loop over time of `bptt_s`, `sltt` and `ottt` is outside of the network: a branch would see one timestep's spikes there.
Branches are computed in the type of their weights, float32, in every precision of a step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.errors import SettingsError
from rbp_engine.methods.inputs import is_static
from rbp_engine.methods.loss import Extended, Objective, softened, softened_distance
from rbp_engine.methods.protocol import predict
from rbp_engine.printable import one_line
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.spiking import Carrier, SequenceTensor
from rbp_engine.spiking.carriers.rate_s import RateSTensor
from rbp_engine.spiking.carriers.single_step import StepTensor
from rbp_engine.spiking.dtypes import full
from rbp_engine.spiking.reference import SequenceReference

# A branch halves a map until no side is longer than this, and doubles the channels up to this number.
SMALL, WIDE = 4, 512
# For maps of one, two and three dimensions.
_CONVOLUTIONS: Final[tuple[Any, ...]] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: Final[tuple[Any, ...]] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class SelfDistillation:
    """The loss above: α is `weight`, β `distill` and τ `temperature`. Raises ValueError for one out of range."""

    weight: float = 1.0
    distill: float = 0.3
    temperature: float = 3.0

    def __post_init__(self) -> None:
        finite = all(number < float("inf") for number in (self.weight, self.distill, self.temperature))
        if not (finite and self.weight > 0.0 and self.distill >= 0.0 and self.temperature > 0.0):
            raise ValueError(f"α and τ are above 0 and β is 0 or more, all of them finite, got {self}")

    def __call__(self, branches: Sequence[Tensor], objective: Objective, value: Tensor, logits: Tensor) -> Tensor:
        """What is minimised, from the outputs [B, C] of branches and the objective's value for the network's logits.

        Raises ValueError for an objective of every timestep.
        """
        if objective.loss.at_every_step:
            raise ValueError(
                f"branches learn from means over time, and the loss {objective.loss.name!r} is one of each timestep: "
                "use 'ce', 'mse' or a loss of your own"
            )
        outputs = [full(output) for output in (*branches, logits)]
        targets, taught = self.teacher(outputs, objective.labels)
        losses = sum((objective(branch) for branch in branches), start=value)
        distances = [(softened_distance(output, targets, self.temperature) * taught).mean() for output in outputs]
        return self.weight * losses + self.distill * torch.stack(distances).sum()

    def teacher(self, outputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's log-probabilities [B, C] at τ, and whether each sample [B] has a teacher."""
        stacked = torch.stack([*outputs]).detach()  # [K, B, C]
        right = stacked.argmax(2) == (labels if labels.ndim == 1 else labels.argmax(1))  # [K, B]
        count = right.sum(0)
        mean = (stacked * right.unsqueeze(2)).sum(0) / count.clamp(min=1).unsqueeze(1)
        return softened(mean, self.temperature), count > 0


class SeparableBlock(nn.Module):
    """From [B, C, …] to another number of channels at half the size, rounded up:

        ReLU( s_1(ReLU(s_2(x))) + BN(1×1 convolution of stride 2) )

    s_j is a depthwise convolution of size 3 and stride j, a pointwise one, and batch norm. Batch norms keep no running
    statistics: branches are not evaluated.
    """

    def __init__(self, channels: int, width: int, dimensions: int) -> None:
        super().__init__()
        convolution = partial(_CONVOLUTIONS[dimensions - 1], bias=False)
        norm = partial(_NORMS[dimensions - 1], width, track_running_stats=False)
        self.body = nn.Sequential(
            convolution(channels, channels, 3, 2, 1, groups=channels),
            convolution(channels, width, 1),
            norm(),
            nn.ReLU(),
            convolution(width, width, 3, 1, 1, groups=width),
            convolution(width, width, 1),
            norm(),
        )
        self.shortcut = nn.Sequential(convolution(channels, width, 1, 2), norm())

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Branch(nn.Module):
    """From the rates of a layer to the classes, [B, …] to [B, C].

    Rates [B, C, H, W] go through blocks, at least one, until the map is 4×4 or smaller; each doubles the channels up to
    512. Then come the mean over the map and a linear layer. Tokens [B, N, C] are a map of one dimension in their order,
    and [B, C] is one of a single position, so that batch norm needs more than one sample.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        """`shape` is that of the rates of one sample."""
        super().__init__()
        channels, *sizes = shape if len(shape) > 2 else [*shape[::-1], 1][:2]
        self.blocks, size = nn.Sequential(), max(sizes)
        while not self.blocks or size > SMALL:
            width = max(channels, min(2 * channels, WIDE))
            self.blocks.append(SeparableBlock(channels, width, len(sizes)))
            channels, size = width, (size + 1) // 2
        self.classes = nn.Linear(channels, classes)
        self.needs_two = size == 1  # with one sample, batch norm has a single value per channel

    def forward(self, rates: Tensor) -> Tensor:
        maps = rates.to(self.classes.weight.dtype)
        if rates.ndim < 4:
            maps = maps.unsqueeze(2) if rates.ndim == 2 else maps.transpose(1, 2)
        return self.classes(self.blocks(maps).flatten(2).mean(2))


class WithBranches(nn.Module):
    """A network with a branch on each of some of its modules, to be trained in its place; the network stays as it is.

    `branches` are in the order of `paths`. In evaluation it is the network alone.
    """

    def __init__(
        self, network: nn.Module, shapes: Mapping[str, Sequence[int]], classes: int, distillation: SelfDistillation
    ) -> None:
        """`shapes` are those of what modules return for one sample, by the path of the module in the network."""
        super().__init__()
        self.network = network
        self.paths = tuple(shapes)
        self.branches = nn.ModuleList(Branch(shape, classes) for shape in shapes.values())
        self.distillation = distillation

    def forward(self, x: Any) -> Any:
        if not self.network.training:
            return self.network(x)
        if isinstance(x, StepTensor):
            raise SettingsError(
                "loss.branches learn from means over time, and with bptt_s, sltt and ottt a pass of the network is one "
                "timestep; use rate_m, rate_s or bptt"
            )
        with _reading(self.network, self.paths, len(x), self._output_of_branch) as outputs:
            output = self.network(x)
        return Extended(output, partial(self.distillation, [outputs[path] for path in self.paths]))

    def _output_of_branch(self, path: str, spikes: Any) -> Tensor | None:
        """[B, C]; None in the first phase of rate_S. At once, so that the spikes need not be kept."""
        if isinstance(spikes, RateSTensor) and spikes.of_time:
            spikes.resolve()  # as the second phase does here
            return None
        rates = spikes.time_mean() if isinstance(spikes, SequenceTensor | SequenceReference) else spikes.rate()
        return self.branches[self.paths.index(path)](rates)


def with_branches(
    network: nn.Module,
    paths: Sequence[str],
    distillation: SelfDistillation,
    images: Tensor,
    *,
    time: bool | None = None,
) -> WithBranches:
    """The network with new branches on the modules at `paths`, named as in `network.named_modules()`.

    One pass over two of the `images`, in evaluation mode, finds what the modules return; `images` and `time` are those
    of a step. Raises SettingsError for a path that has no module, or one that takes no part in the pass, takes part
    more than once, or returns something that a branch cannot read.
    """
    names = [path for path, _ in network.named_modules(remove_duplicate=False) if path]
    parts = one_line(", ".join(part for part, _ in network.named_children()))
    for path in paths:
        _need(
            path in names, path, f"and the network has no module there.{did_you_mean(path, names)} Its parts: {parts}"
        )
    static = is_static(images, time)
    few = images[:2] if static else images[:, :2]
    with _reading(network, paths, few.shape[0 if static else 1], lambda path, spikes: spikes.shape[1:]) as shapes:
        logits = predict(network, few, 1 if static else len(images), time=time)
    branched = WithBranches(network, {path: shapes[path] for path in paths}, logits.shape[-1], distillation)
    weights = next(weight for weight in network.parameters() if weight.is_floating_point())
    branched.branches.to(weights.device, weights.dtype)
    return branched


@contextmanager
def _reading(
    network: nn.Module, paths: Sequence[str], samples: int, read: Callable[[str, Any], Any]
) -> Iterator[dict[str, Any]]:
    """Within it one pass over a batch of `samples` fills the result, by path, with what `read` makes of the outputs."""
    seen: dict[str, Any] = {}

    def look(path: str, module: nn.Module, args: Any, output: Any) -> None:
        _need(path not in seen, path, "which is called more than once in a pass; name a module around it")
        shape = list(output.shape) if isinstance(output, Carrier) else []
        what = f"{shape or type(output).__name__} for {samples} images: a branch needs [B, C], [B, N, C] or [B, C, …]"
        _need(2 <= len(shape) <= 5 and shape[0] == samples, path, f"which returns {what}")
        seen[path] = read(path, output)

    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(network.get_submodule(path).register_forward_hook(partial(look, path)))
        yield seen
    for path in paths:
        _need(path in seen, path, "which takes no part in a pass by itself, as a list of modules; name one that does")


def _need(met: bool, path: str, otherwise: str) -> None:
    """Raise SettingsError about the module at a path unless what a branch needs is `met`."""
    if not met:
        raise SettingsError(f"loss.branches names '{one_line(path)}', {otherwise}")
