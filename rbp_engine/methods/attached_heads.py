"""Heads on the inner layers of a network, for training alone; the network itself stays as it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from rbp_engine.errors import SettingsError
from rbp_engine.methods.inputs import is_static
from rbp_engine.methods.protocol import predict
from rbp_engine.methods.self_distillation import HeadOutputs, SelfDistillation
from rbp_engine.printable import one_line
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.spiking import LIF, Carrier


class WithHeads(nn.Module):
    """A network with a linear head on each of some of its modules, to be trained in its place.

    A head takes the module's output, means over space or tokens, and a linear layer to the classes. All of this
    commutes with the time mean: in the rate methods a head is one of firing rates, and has their gradient. `heads` are
    in the order of `paths`. In evaluation it is the network alone.
    """

    def __init__(
        self, network: nn.Module, features: Mapping[str, int], classes: int, distillation: SelfDistillation
    ) -> None:
        """`features` are the numbers of inputs of the heads, by the path of the module in the network."""
        super().__init__()
        self.network = network
        self.paths = tuple(features)
        self.heads = nn.ModuleList(nn.Linear(inputs, classes) for inputs in features.values())
        self.distillation = distillation

    def forward(self, x: Any) -> Any:
        if not self.network.training:
            return self.network(x)
        found: dict[str, Any] = {}
        with ExitStack() as stack:
            for path, head in zip(self.paths, self.heads, strict=True):
                hook = partial(_look_at_output, found, path, head)
                stack.enter_context(self.network.get_submodule(path).register_forward_hook(hook))
            output = self.network(x)
        _check_found(found, self.paths)
        return HeadOutputs(output, tuple(found[path] for path in self.paths), self.distillation)


def with_heads(
    network: nn.Module,
    paths: Sequence[str],
    distillation: SelfDistillation,
    images: Tensor,
    *,
    time: bool | None = None,
) -> WithHeads:
    """The network with new heads on the modules at `paths`, named as in `network.named_modules()`.

    One pass over two of the `images`, in evaluation mode, finds what the modules return; `images` and `time` are as of
    a step. Raises SettingsError for a path that has no module, or one that takes no part in the pass, takes part more
    than once, or returns something that a head cannot read.
    """
    _check_paths(network, paths)
    static = is_static(images, time)
    few = images[:2] if static else images[:, :2]
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        stack.enter_context(_uncompiled(network))
        for path in paths:
            hook = partial(_look_at_output, found, path, None)
            stack.enter_context(network.get_submodule(path).register_forward_hook(hook))
        logits = predict(network, few, 1 if static else len(images), time=time)
    _check_found(found, paths)
    for path in paths:
        if found[path].shape[0] != logits.shape[1]:
            raise SettingsError(
                f"loss.heads names '{one_line(path)}', which returns {list(found[path].shape)} for {logits.shape[1]} "
                "images: a head needs the batch in the first dimension"
            )
    weights = next(weight for weight in network.parameters() if weight.is_floating_point())
    features = {path: int(pooled(found[path]).shape[1]) for path in paths}
    return WithHeads(network, features, logits.shape[-1], distillation).to(weights.device, weights.dtype)


@contextmanager
def _uncompiled(network: nn.Module) -> Iterator[None]:
    """Within it no neurons compile kernels: the two images are of another size than those of training."""
    kernels = [(neurons, neurons.kernel) for neurons in network.modules() if isinstance(neurons, LIF)]
    for neurons, _ in kernels:
        neurons.kernel = "eager"
    try:
        yield
    finally:
        for neurons, kernel in kernels:
            neurons.kernel = kernel


def pooled(x: Any) -> Any:
    """The mean over space of [B, C, H, W], and over tokens of [B, N, C], to [B, C]."""
    if x.ndim == 2:
        return x
    return x.mean(1) if x.ndim == 3 else x.mean(tuple(range(2, x.ndim)))


def _look_at_output(
    found: dict[str, Any], path: str, head: nn.Module | None, module: nn.Module, args: Any, output: Any
) -> None:
    """Put what the head makes of a module's output into `found`; without a head, the output itself.

    It is made at once: the spikes need not be kept until the end of the pass, and the network may change them in place.
    """
    if path in found:
        raise SettingsError(
            f"loss.heads names '{one_line(path)}', which is called more than once in a pass; name a module around it"
        )
    if not isinstance(output, Carrier) or output.ndim < 2:
        what = f"{list(output.shape)}" if isinstance(output, Carrier) else type(output).__name__
        raise SettingsError(
            f"loss.heads names '{one_line(path)}', which returns {what}: a head needs spikes [B, C, …] or [B, N, C]"
        )
    if head is None:
        found[path] = output
        return
    found[path] = head(pooled(output))


def _check_paths(network: nn.Module, paths: Sequence[str]) -> None:
    known = [path for path, _ in network.named_modules(remove_duplicate=False) if path]
    for path in paths:
        if path not in known:
            parts = one_line(", ".join(part for part, _ in network.named_children()))
            raise SettingsError(
                f"loss.heads names '{one_line(path)}', and the network has no module there."
                f"{did_you_mean(path, known)} Its parts: {parts}"
            )


def _check_found(found: Mapping[str, Any], paths: Sequence[str]) -> None:
    for path in paths:
        if path not in found:
            raise SettingsError(
                f"loss.heads names '{one_line(path)}', which takes no part in a pass by itself, as a list of modules "
                "does not; name a module that is called"
            )
