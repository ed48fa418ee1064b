"""What the operations of a network keep from timestep to timestep, for one training step and outside its modules."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from rbp_engine.spiking.tensor_like import TensorLike

R = TypeVar("R")


@dataclass(frozen=True)
class DrawnOnce:
    """A tensor without time as the first timestep saw it; None if it had a graph, which later passes build again."""

    tensor: Tensor | None

    def instead_of(self, tensor: Tensor) -> Tensor:
        return tensor if self.tensor is None or tensor.requires_grad else self.tensor


class StepState:
    """A record for every operation that needs one, found by the order of the operations.

    The loop over time is outside the network for the single-step methods. Every pass starts at the first record
    again, and the same operation finds the record that it made at the first timestep. All state ends with this object.
    """

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps
        self.step = -1
        self._records: list[Any] = []
        self._next = 0

    def next_pass(self) -> None:
        """Begin the next pass; all passes must use the same operations in the same order."""
        self.check_complete()
        self.step += 1
        self._next = 0

    def check_complete(self) -> None:
        """Raise ValueError if the last pass left out operations; `next_pass` checks all passes but the last."""
        if self._next != len(self._records):
            raise ValueError(
                "the network used other operations than at the timestep before; it must not branch in time"
            )

    def record(self, kind: type[R], make: Callable[[], R]) -> R:
        """The record of the current operation; the first pass makes it."""
        if self.step == 0:
            self._records.append(make())
        return self._next_record(kind)

    def drawn_once(self, tensor: Tensor) -> Tensor:
        """The tensor that the first pass had in this place, or this one if it has a gradient."""
        return self.record(DrawnOnce, lambda: DrawnOnce(None if tensor.requires_grad else tensor)).instead_of(tensor)

    def take(self, kind: type[R]) -> R:
        """The record of the current operation, in the last pass: it is not kept any longer."""
        found = self._next_record(kind)
        self._records[self._next - 1] = None
        return found

    def _next_record(self, kind: type[R]) -> R:
        found = self._records[self._next] if self._next < len(self._records) else None
        if not isinstance(found, kind):
            raise ValueError(
                "the network used other operations than at the timestep before; it must not branch in time"
            )
        self._next += 1
        return found


class TimestepCarrier(TensorLike):
    """A carrier of one timestep [B, …]: what is drawn or cast at the first one is kept for the others."""

    state: StepState

    def values(self) -> Tensor:
        """[B, …]."""
        raise NotImplementedError

    def spikes_by_step(self) -> Iterable[tuple[int, Tensor]]:
        return [(self.state.step, self.values())]

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.state.record(Tensor, draw)

    def drawn_once(self, tensor: Tensor) -> Tensor:
        return self.state.drawn_once(tensor)

    def cast_weight(self, weight: Tensor) -> Tensor:
        return self.state.record(Tensor, lambda: weight.to(self.dtype))
