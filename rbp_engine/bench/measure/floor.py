"""The floor of a training step: its own convolutions and matrix products, alone, in the faster memory format."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from rbp_engine import private_apis
from rbp_engine.bench.measure.counts import force_eager

private_apis.require(private_apis.MEASURING)
Clock = Callable[[Callable[[], object]], float]
Call = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]
#: The two orders of an image's dimensions in memory, as torch's formats.
FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


class Floor:
    """What a step cannot do without: the operations that `counts.weighted_operations` counts, with their shapes.

    They are taken from one step and run again on random values, forward and backward, in the order of the step.
    `layout` is the faster of the formats of `FORMATS`, by `clock`, which gives the seconds of a call.
    """

    def __init__(self, step: Callable[[], object], device: torch.device, clock: Clock) -> None:
        recorder = _Recorder()
        with force_eager(), recorder:
            step()
        seconds = {}
        for layout in FORMATS:
            self._calls = _filled(recorder.calls, FORMATS[layout], device)
            self.run()
            seconds[layout] = clock(self.run)
        self.layout = min(seconds, key=seconds.__getitem__)
        self._calls = _filled(recorder.calls, FORMATS[self.layout], device)

    def run(self) -> None:
        """Run them once."""
        with torch.no_grad():
            for function, args, kwargs in self._calls:
                function(*args, **kwargs)


class _Recorder(TorchDispatchMode):
    """Keeps the counted operations, with tensors on the meta device in place of theirs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket in flop_registry:
            self.calls.append((func, *tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {}))))
        return func(*args, **(kwargs or {}))


def _filled(calls: list[Call], layout: torch.memory_format, device: torch.device) -> list[Call]:
    """The calls with random tensors of the same shapes and types; those of one shape share their memory."""
    made: dict[Any, Tensor] = {}

    def fill(shape: Tensor) -> Tensor:
        key = (shape.shape, shape.stride() if shape.ndim != 4 else layout, shape.dtype)
        if key not in made:
            values = torch.empty_like(shape, device=device).normal_()
            made[key] = values.contiguous(memory_format=layout) if values.ndim == 4 else values
        return made[key]

    return [(function, *tree_map_only(Tensor, fill, (args, kwargs))) for function, args, kwargs in calls]
