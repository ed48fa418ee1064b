"""What flows through a network in place of a tensor: spikes over time, in the form that a method needs.

A carrier looks to a module like the batch [B, …] of one timestep and answers torch's functions
(`spiking/rules/rule_table.py`), so that unmodified `torch.nn` modules work on it, and models know neither T nor the
method. One table, `spiking/rules/rule_table.py`, says what each operation does to a carrier. The carriers are in
`spiking/carriers/`. `NeuronModule` is where neurons meet one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from spikingjelly.activation_based import base
from torch import Tensor

from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.fusion import Neurons, full
from rbp_engine.spiking.linear import Linear
from rbp_engine.spiking.nonlinear import Nonlinear


class Carrier(ABC):
    """T timesteps of a batch, shaped [B, …] as far as a module can see.

    Subclasses say what the four kinds of rule do to them: linear, nonlinear, batch norm, fire.
    """

    timesteps: int
    # The process group over which the next batch norm takes its statistics; None for this process alone.
    processes: Any = None
    # How many changes in place its value includes.
    _follows = 0

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor of the shape, type and device that a module sees, [B, …]; its values mean nothing."""

    @property
    def shape(self) -> torch.Size:
        return self.like.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    def by_step(self, samples: int | None = None) -> Iterable[tuple[int, Tensor]]:
        """The timesteps that it has, from 0, and their values [samples, …] of the first samples, or all, of the batch.

        Each is good until the next. What is deferred stays so.
        """
        raise NotImplementedError

    @cached_property
    def _changes(self) -> list[str]:
        """The operations in place, in order, in the memory that a tensor would share with its views."""
        return []

    def make_view(self, out: Self) -> Self:
        """`out`, which shares the memory of this carrier, or of a part of it."""
        out._changes, out._follows = self._changes, self._follows
        return out

    def check_unchanged(self, operation: str) -> None:
        """Refuse to be used after the memory was changed in place by way of another carrier."""
        for changed_by in self._changes[self._follows :]:
            raise UnsupportedOperation(
                operation,
                f"a view of its argument was changed by '{changed_by}', or what it is a view of, which does not reach "
                "the argument itself; make a new value there: x = x + y in place of x += y",
            )

    def become(self, other: Self, operation: str) -> Self:
        """Take over another's value, as an operation in place does. Views of the same memory cannot be used then."""
        self._changes.append(operation)
        self.__dict__.update(vars(other), _changes=self._changes, _follows=len(self._changes))
        return self

    def resolve(self) -> Any:  # noqa: B027  # most defer nothing
        """Carry out what is deferred, where this carrier defers anything."""

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        """The mask [B, …] of a dropout layer, the same at every timestep."""
        return draw()

    def drawn_once(self, tensor: Tensor) -> Tensor:
        """A tensor without time that an operation takes beside a carrier, the same at every timestep.

        One without a gradient may have been drawn at random, like the mask of drop path: the first timestep's is used.
        """
        return tensor

    def cast_weight(self, weight: Tensor) -> Tensor:
        """The weight in the type of this carrier, with its graph."""
        return weight.to(self.dtype)

    @classmethod
    @abstractmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        """Apply an operation that is linear in its inputs together."""

    @classmethod
    @abstractmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        """Apply an operation that does not commute with the time mean."""

    @abstractmethod
    def batch_norm(self, norm: BatchNorm) -> Self:
        """Apply a batch norm: in training with statistics of its input, else an affine map."""

    @abstractmethod
    def fire(self, neurons: Neurons) -> Self:
        """The spikes of a neuron layer that receives this carrier as its input current."""


class NeuronModule(base.MemoryModule, ABC):  # type: ignore[misc]  # it has no types
    """A layer of neurons as a module: for every carrier, and for plain tensors step by step.

    `v` is what plain tensors have left in it: the state of its neurons, None at rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.v: Any
        self.register_memory("v", None)

    def forward(self, current: Any) -> Any:
        """Spikes for input currents: a carrier for a carrier of the same kind, a tensor for a tensor."""
        if isinstance(current, Tensor):
            return super().forward(current)
        refuse_checkpointing()
        current.check_unchanged(type(self).__name__)
        return current.fire(self.neurons_for(current))

    @abstractmethod
    def neurons_for(self, current: Any) -> Neurons:
        """The layer as carriers fire it, for an input [B, C, …]: a tensor, or a carrier, which makes it ready."""

    def single_step_forward(self, current: Tensor) -> Tensor:
        """Spikes [B, …] of one timestep; `v` keeps the state for the next.

        Raises ValueError if the input's shape is not that of the state which the previous input left.
        """
        neurons = self.neurons_for(current)
        before = neurons.at_rest(current) if self.v is None else self.v
        kept = (before if isinstance(before, Tensor) else before[0]).shape
        if kept != current.shape:
            raise ValueError(
                f"the state has the shape {list(kept)} of the input before, this one {list(current.shape)}: before "
                "another batch call reset() of the neuron, or rbp_engine.methods.reset_state(model); step and predict "
                "of a method do so"
            )
        spikes, self.v = neurons.timestep(before, full(current))
        return spikes.to(current.dtype)

    def multi_step_forward(self, currents: Tensor) -> Tensor:
        """Spikes [T, B, …] of T timesteps, from what the timestep before has left."""
        return torch.stack([self.single_step_forward(current) for current in currents.unbind(0)])


def refuse_checkpointing() -> None:
    """Raise RuntimeError where activation checkpointing computes a part of the network.

    It would move running statistics twice, and find neurons that have gone on to later timesteps.
    """
    in_backward = torch._C._current_graph_task_id() != -1
    # Reentrant checkpointing runs inside a torch.autograd.Function, whose forward has forward-mode gradients off.
    reentrant = not torch._C._is_fwd_grad_enabled() and not torch.is_inference_mode_enabled()
    if in_backward or reentrant:
        raise RuntimeError(
            "torch.utils.checkpoint computes a part of the network again in the backward pass, and spikes over time "
            "cannot be: leave it out. The memory of rate_m and rate_s hardly grows with T"
        )


def all_carriers(args: Iterable[Any]) -> Iterable[Any]:
    """The carriers among arguments, tuples and lists included."""
    for arg in args:
        if isinstance(arg, Carrier):
            yield arg
        elif isinstance(arg, (tuple, list)):
            yield from all_carriers(arg)
