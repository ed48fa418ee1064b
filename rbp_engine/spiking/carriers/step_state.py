"""What the operations of a network keep from timestep to timestep, for one training step and outside its modules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from torch import Tensor

from rbp_engine.spiking.rules.table import TensorLike

P = TypeVar("P")

BRANCHES_IN_TIME: Final = "the network used other operations than at the timestep before; it must not branch in time"


class StepState:
    """A place for every operation that keeps something, found by the order of the operations.

    The loop over time is outside the network for the single-step methods. Every pass starts at the first place again,
    and the same operation finds what it made at the first timestep. All ends with this object.
    """

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps
        self.step = -1
        self._places: list[Any] = []
        self._next = 0

    @property
    def of_time(self) -> bool:
        """Whether this pass is a timestep. The one after them, rate_S's over the means, uses up what is kept."""
        return self.step < self.timesteps

    def next_pass(self) -> None:
        """Begin the next pass; all passes must use the same operations in the same order."""
        self.check_complete()
        self.step += 1
        self._next = 0

    def check_complete(self) -> None:
        """Raise ValueError if the last pass left out operations; `next_pass` checks all passes but the last."""
        if self._next != len(self._places):
            raise ValueError(BRANCHES_IN_TIME)

    def place(self, kind: type[P], make: Callable[[], P] | None = None) -> P:
        """The place of the current operation; the first pass makes it. Raises ValueError if it is of another kind."""
        if self.step == 0:
            self._places.append((make or kind)())
        found = self._places[self._next] if self._next < len(self._places) else None
        if not isinstance(found, kind):
            raise ValueError(BRANCHES_IN_TIME)
        if not self.of_time:
            self._places[self._next] = None
        self._next += 1
        return found


@dataclass(frozen=True)
class Kept:
    """A tensor without time as the first timestep had it; None if it had a graph, which later passes build again."""

    tensor: Tensor | None


class TimestepCarrier(TensorLike):
    """A carrier of one timestep [B, …]: what is drawn or cast at the first one is kept for the others."""

    state: StepState

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self._kept(draw)

    def drawn_once(self, tensor: Tensor) -> Tensor:
        kept = self.state.place(Kept, lambda: Kept(None if tensor.requires_grad else tensor)).tensor
        return tensor if kept is None or tensor.requires_grad else kept

    def cast_weight(self, weight: Tensor) -> Tensor:
        return self._kept(lambda: weight.to(self.dtype))

    def _kept(self, make: Callable[[], Tensor]) -> Tensor:
        kept = self.state.place(Kept, lambda: Kept(make())).tensor
        assert kept is not None
        return kept
