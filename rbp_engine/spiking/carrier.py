"""What flows through a network in place of a tensor: spikes over time, in the form that a method needs.

A carrier looks to a module like the batch [B, …] of one timestep and answers torch's functions
(`spiking/rules/rule_table.py`), so that unmodified `torch.nn` modules work on it, and models know neither T nor the
method. One table, `spiking/rules/rule_table.py`, says what each operation does to a carrier. The carriers are in
`spiking/carriers/`. `NeuronModule` is what a neuron layer does with one.
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
from rbp_engine.spiking.dtypes import full
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.linear import Linear
from rbp_engine.spiking.neuron_protocol import Neurons
from rbp_engine.spiking.nonlinear import Nonlinear


class Carrier(ABC):
    """T timesteps of a batch, which a module sees as [B, …].

    Subclasses say what the four kinds of rule do to them: linear, nonlinear, batch norm, fire.
    """

    timesteps: int
    # The process group over which the next batch norm takes its statistics; None for this process alone.
    processes: Any = None
    # How many in-place changes its value includes.
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
        """Its timesteps, from 0, with their values [samples, …] for the first samples of the batch, or for all.

        A value is valid until the next one is read. What is deferred stays deferred.
        """
        raise NotImplementedError

    @cached_property
    def _changes(self) -> list[str]:
        """The names of the in-place operations, in order, on the memory that a tensor would share with its views."""
        return []

    def make_view(self, out: Self) -> Self:
        """Mark `out` as sharing the memory of this carrier, or of a part of it, and return it."""
        out._changes, out._follows = self._changes, self._follows
        return out

    def check_unchanged(self, operation: str) -> None:
        """Raise UnsupportedOperation if the memory was changed in place through another carrier."""
        for changed_by in self._changes[self._follows :]:
            raise UnsupportedOperation(
                operation,
                f"a view of its argument was changed by '{changed_by}', or what it is a view of, which does not reach "
                "the argument itself; make a new value there: x = x + y in place of x += y",
            )

    def become(self, other: Self, operation: str) -> Self:
        """Take over another's value, as an in-place operation does. Views of the same memory become unusable."""
        self._changes.append(operation)
        self.__dict__.update(vars(other), _changes=self._changes, _follows=len(self._changes))
        return self

    def resolve(self) -> Any:  # noqa: B027  # most defer nothing
        """Compute what this carrier has deferred, if anything."""

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        """The mask [B, …] of a dropout layer, the same at every timestep."""
        return draw()

    def drawn_once(self, tensor: Tensor) -> Tensor:
        """A tensor without time that an operation combines with a carrier, the same at every timestep.

        Without a gradient it may be random, like the mask of drop path, so the first timestep's tensor is kept.
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

    `v` is the state that plain tensors leave behind, None at rest.
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
        """The layer as carriers fire it, for an input [B, C, …]: a tensor, or a carrier, which also prepares it."""

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
        """Spikes [T, B, …] of T timesteps, starting from the state that the previous call left."""
        return torch.stack([self.single_step_forward(current) for current in currents.unbind(0)])


def refuse_checkpointing() -> None:
    """Raise RuntimeError if activation checkpointing is recomputing a part of the network.

    That would update running statistics twice, and meet neurons that have advanced to later timesteps.
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
