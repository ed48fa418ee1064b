"""Carriers of the methods with a graph whose loop over time is outside the network: one timestep [B, …] at a time.

    StepTensor    the values of one timestep with their graph: single-step BPTT and SLTT
    TraceTensor   the same with the trace of the spikes, which the weights are trained on: OTTT

Membranes and dropout masks are kept in the `StepState` of a training step, and nothing in a module. rate_S also keeps
there what its operations add up (`carriers/rate_s.py`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypeVar

import torch
from torch import Tensor

from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.fusion import is_fused
from rbp_engine.spiking.linear import Linear, layer_gradient
from rbp_engine.spiking.neuron_protocol import Membrane, Neurons
from rbp_engine.spiking.nonlinear import AtMean, Nonlinear
from rbp_engine.spiking.rules.rule_table import TensorLike
from rbp_engine.spiking.steps import TimeConstant, WithValue

P = TypeVar("P")

BRANCHES_IN_TIME: Final = "the network used other operations than at the timestep before; it must not branch in time"


class StepState:
    """Places for what operations keep from timestep to timestep, found by the order of the operations.

    The single-step methods loop over time outside the network. Every pass starts at the first place again, so each
    operation finds what it made at the first timestep. Everything is freed with this object.
    """

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps
        self.step = -1
        self._places: list[Any] = []
        self._next = 0

    @property
    def of_time(self) -> bool:
        """Whether this pass is a timestep. The pass after them, rate_S's over the means, consumes what is kept."""
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
        kept = self._places[self._next] if self._next < len(self._places) else None
        if not isinstance(kept, kind):
            raise ValueError(BRANCHES_IN_TIME)
        if not self.of_time:
            self._places[self._next] = None
        self._next += 1
        return kept


class TimestepCarrier(TensorLike):
    """A carrier of one timestep [B, …]: what is drawn or cast at the first one is kept for the others."""

    state: StepState

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.state.place(Tensor, draw)

    def drawn_once(self, tensor: Tensor) -> Tensor:
        kept = self.state.place(Tensor, tensor.detach)
        return tensor if tensor.requires_grad else kept  # each pass builds its own graph

    def cast_weight(self, weight: Tensor) -> Tensor:
        kept = self.state.place(Tensor, lambda: weight.to(self.dtype))
        # Its graph serves all passes only if the weight is not computed again in each, as a parametrised one is.
        has_graph = kept.requires_grad and weight.is_leaf
        return kept if has_graph or not (weight.requires_grad and torch.is_grad_enabled()) else weight.to(self.dtype)


@dataclass
class NeuronPlace:
    """What a neuron layer carries to the next timestep; None at the first."""

    membrane: Membrane | None = None


class StepTensor(TimestepCarrier):
    """Values [B, …] of one timestep.

    With `through_time` the membrane keeps its graph from step to step (BPTT); without it the gradient is spatial
    only (SLTT). A sum of two is left to the next neuron; every other operation carries it out first.
    """

    # Whether neurons are asked for the trace of their spikes.
    traced: ClassVar = False

    def __init__(self, values: Tensor, state: StepState, through_time: bool = False) -> None:
        self._terms: tuple[Tensor, ...] = (values,)
        self.trace: Tensor | None = None
        self.state = state
        self.through_time = through_time
        self.timesteps = state.timesteps

    @property
    def like(self) -> Tensor:
        return self._terms[0]

    def values(self) -> Tensor:
        if len(self._terms) > 1:
            with torch.enable_grad():  # as when the sum was formed
                self._terms = (operator.add(*self._terms),)
        return self._terms[0]

    resolve = values

    def with_values(self, values: Tensor) -> Self:
        """Other values of the same timestep."""
        return type(self)(values, self.state, self.through_time)

    def by_step(self, samples: int | None = None) -> Iterable[tuple[int, Tensor]]:
        first, *others = (term[:samples] for term in self._terms)
        return [(self.state.step, sum(others, start=first))]

    def fire(self, neurons: Neurons) -> Self:
        place = self.state.place(NeuronPlace)
        spikes, place.membrane = neurons.once(
            self._terms, place.membrane, through_time=self.through_time, traced=self.traced
        )
        out = self.with_values(spikes)
        out.trace = place.membrane.trace
        return out

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        first = inputs[0]
        if is_fused() and torch.is_grad_enabled() and operation.is_plain_sum(inputs):
            out = first.with_values(first.values())
            out._terms = tuple(x.values() for x in inputs)
            return out
        return first.with_values(operation(*(x.values() for x in inputs)))

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        return inputs[0].with_values(operation(*(x.values() for x in inputs)))

    def batch_norm(self, norm: BatchNorm) -> Self:
        return self.with_values(norm(self.values()))


class TraceTensor(StepTensor):
    """Spikes [B, …] of one timestep and their trace; None where no neuron has fired yet, or after a weighted layer."""

    traced = True

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        """The trace goes through what is linear; a gradient of weights is formed with it, and it ends there."""
        x, traces = inputs[0], traces_of(inputs)
        if traces is None:
            return super().linear(operation, inputs)
        if operation.weights == "layer":
            with torch.no_grad():
                value = operation(x.values())
            received = TimeConstant(traces[0], grad_proxy=x.values())
            return x.with_values(WithValue.apply(layer_gradient(operation.call, received, value), value))
        if operation.weights == "product" and operation.trains_weights:
            at_spikes = operation.with_fixed_weights()(*(each.values() for each in inputs))
            at_trace = operation(*traces)
            return x.with_values(WithValue.apply(at_spikes + at_trace, at_spikes.detach()))
        return cls._with_traces(operation, inputs, traces)

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        """A maximum has the maximum of the traces; the result of a product, an activation or a norm has no trace."""
        traces = traces_of(inputs)
        if traces is None or not isinstance(operation, AtMean):
            return super().nonlinear(operation, inputs)
        return cls._with_traces(operation, inputs, traces)

    def batch_norm(self, norm: BatchNorm) -> Self:
        """With running statistics it scales the trace, too."""
        if norm.training or self.trace is None:
            return super().batch_norm(norm)
        return self._with_traces(norm, [self], [self.trace])

    @classmethod
    def _with_traces(cls, operation: Callable[..., Tensor], inputs: Sequence[Self], traces: Sequence[Tensor]) -> Self:
        out = inputs[0].with_values(operation(*(x.values() for x in inputs)))
        with torch.no_grad():
            out.trace = operation(*traces)
        return out


def traces_of(inputs: Sequence[TraceTensor]) -> list[Tensor] | None:
    """The traces of all; None if one has none."""
    traces = [x.trace for x in inputs if x.trace is not None]
    return traces if len(traces) == len(inputs) else None
