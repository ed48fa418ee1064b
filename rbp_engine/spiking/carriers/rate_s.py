"""The carrier of rate_S: T timesteps without a graph that add to means, then the means with their graph.

A training step runs the network T + 1 times (paper, section 4.2, algorithm 1): once for each timestep, values [B, …]
without a graph, and once over the time means [B, …] with their gradient. Each operation has one object in the
`StepState`, with a method for the timesteps, which adds up, and one for the last pass, which uses the sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking import firing
from rbp_engine.spiking.batch_norm import BatchNorm, Normalisation
from rbp_engine.spiking.carriers.sequence import DeferredSum, deferred_terms
from rbp_engine.spiking.carriers.single_step import BRANCHES_IN_TIME, StepState, TimestepCarrier
from rbp_engine.spiking.current import Current, CurrentReader, Term
from rbp_engine.spiking.dtypes import membrane_dtype
from rbp_engine.spiking.linear import Linear, layer_gradient
from rbp_engine.spiking.neuron_protocol import Neurons, RateLoop
from rbp_engine.spiking.nonlinear import Nonlinear
from rbp_engine.spiking.steps import Dense, Steps, TimeConstant, WeightInput, firing_rate


class RateSTensor(TimestepCarrier, DeferredSum):
    """Values [B, …] of one timestep, or in the last pass time means [B, …] with the proxy of their gradient.

    `static` says that they are the same at every timestep: an image before the first neuron is computed once.
    """

    def __init__(
        self, current: Current, state: StepState, *, static: bool, place: RateSOperation | None = None
    ) -> None:
        """`place` belongs to the operation that has deferred something that depends on the timestep."""
        self.current = current
        self.state = state
        self.static = static
        self.timesteps = state.timesteps
        # Whether it holds one timestep, and not the means.
        self.of_time = state.of_time
        self._place = place

    @classmethod
    def of_step(cls, values: Tensor, state: StepState, *, static: bool) -> Self:
        """Values [B, …] of one timestep."""
        return cls(Current([Term(Dense(values.unsqueeze(0)))], 1), state, static=static)

    @classmethod
    def of_means(
        cls,
        mean: Tensor,
        state: StepState,
        *,
        static: bool,
        grad_proxy: Tensor | None = None,
        counts: WeightInput | None = None,
    ) -> Self:
        """A time mean [B, …], with its graph or the proxy of its gradient; `counts` are those of a firing rate."""
        steps = TimeConstant(mean.detach(), counts, grad_proxy=mean if grad_proxy is None else grad_proxy)
        return cls(Current([Term(steps)], 1), state, static=static)

    def _compute(self) -> Steps:
        if self.of_time:
            values = self.current.compute()
            if self._place is not None:
                self._place.add(values[0])
            return Dense(values)
        rate = self.current.rate()
        [mean] = [rate.detach()] if self._place is None else self._place.means(self.timesteps)
        return TimeConstant(mean, grad_proxy=rate)

    def values(self) -> Tensor:
        """[B, …]."""
        return self.resolve().at(0)

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient, in the last pass."""
        if self.of_time:
            raise ValueError(BRANCHES_IN_TIME)
        return self.resolve().rate()

    def by_step(self, samples: int | None = None) -> Iterable[tuple[int, Tensor]]:
        return [(self.state.step, CurrentReader(self.current.first(samples)).at(0))] if self.of_time else []

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Any:
        return half_of(RateSLinear, inputs)(operation, inputs)

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Any:
        return half_of(RateSNonlinear, inputs)(operation, inputs)

    def batch_norm(self, norm: BatchNorm) -> Any:
        return half_of(RateSNorm, [self])(self, norm)

    def fire(self, neurons: Neurons) -> Any:
        return half_of(RateSFire, [self])(self, neurons)


class RateSOperation:
    """What one operation of the network adds up over the timesteps, for the pass over the means.

    `at_step` is its half in the passes over timesteps, `at_means` that in the pass over the means.
    """

    at_step: Callable[..., RateSTensor]
    at_means: Callable[..., RateSTensor]

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._dtypes: list[torch.dtype] = []
        self._added = 0
        self._static: Tensor | None = None

    def add(self, *tensors: Tensor) -> None:
        """Add one timestep of each."""
        if not self._sums:
            self._dtypes = [tensor.dtype for tensor in tensors]
            self._sums = [torch.zeros_like(tensor, dtype=membrane_dtype(tensor.dtype)) for tensor in tensors]
        for total, tensor in zip(self._sums, tensors, strict=True):
            total.add_(tensor)
        self._added += 1

    def means(self, timesteps: int) -> list[Tensor]:
        """The time means of what was added, only once. Raises ValueError unless each timestep has added something."""
        if self._added != timesteps:
            raise ValueError(BRANCHES_IN_TIME)
        sums, self._sums = self._sums, []
        return [total.div_(timesteps).to(dtype) for total, dtype in zip(sums, self._dtypes, strict=True)]

    def static_step(self, operation: Callable[..., Tensor], inputs: Sequence[RateSTensor]) -> RateSTensor:
        """Compute what is the same at every timestep once, at the first."""
        if self._static is None:
            self._static = operation(*(x.values() for x in inputs))
        return RateSTensor.of_step(self._static, inputs[0].state, static=True)

    def static_mean(self, operation: Callable[..., Tensor], inputs: Sequence[RateSTensor]) -> RateSTensor:
        self._static = None
        return RateSTensor.of_means(operation(*(x.rate() for x in inputs)), inputs[0].state, static=True)


class RateSLinear(RateSOperation):
    """A linear operation commutes with the time mean: only a sum that was left to the next neuron is added up."""

    def at_step(self, operation: Linear, inputs: Sequence[RateSTensor]) -> RateSTensor:
        state, terms = inputs[0].state, deferred_terms(operation, inputs)
        if terms is not None:
            return RateSTensor(Current(terms, 1), state, static=False, place=self)
        if _static(inputs):
            return self.static_step(operation, inputs)
        return RateSTensor.of_step(operation(*(x.values() for x in inputs)), state, static=False)

    def at_means(self, operation: Linear, inputs: Sequence[RateSTensor]) -> RateSTensor:
        state, terms = inputs[0].state, deferred_terms(operation, inputs)
        if terms is not None:
            return RateSTensor(Current(terms, 1), state, static=False, place=self)
        if operation.weights == "layer":
            return self._mean_of_layer(operation, inputs[0])
        if _static(inputs):
            return self.static_mean(operation, inputs)
        if operation.moves and len(inputs) == 1:
            return RateSTensor(Current([Term(inputs[0].resolve().moved(operation))], 1), state, static=False)
        return RateSTensor.of_means(operation(*(x.rate() for x in inputs)), state, static=False)

    def _mean_of_layer(self, operation: Linear, x: RateSTensor) -> RateSTensor:
        steps, value = x.resolve(), self._static
        self._static = None
        if value is None:
            # Summing the outputs over time would keep a [B, …] of every layer in memory until now.
            with torch.no_grad():
                value = operation(steps.time_mean())
        proxy = layer_gradient(operation.call, steps, value)
        return RateSTensor.of_means(value, x.state, static=x.static, grad_proxy=proxy)


class RateSNonlinear(RateSOperation):
    """Adds up its output, and the parts of its Jacobian."""

    def at_step(self, operation: Nonlinear, inputs: Sequence[RateSTensor]) -> RateSTensor:
        if _static(inputs):
            return self.static_step(operation, inputs)
        out, parts = operation.steps(*(x.values() for x in inputs))
        self.add(out, *parts)
        return RateSTensor.of_step(out, inputs[0].state, static=False)

    def at_means(self, operation: Nonlinear, inputs: Sequence[RateSTensor]) -> RateSTensor:
        if _static(inputs):
            return self.static_mean(operation, inputs)
        steps = [x.resolve() for x in inputs]
        out, *parts = self.means(inputs[0].timesteps)
        proxy = operation.grad_proxy(steps, TimeConstant(out), parts)
        return RateSTensor.of_means(out, inputs[0].state, static=False, grad_proxy=proxy)


class RateSNorm(RateSOperation):
    """A batch norm: in training its statistics are those of each timestep, and their means in the last pass."""

    def __init__(self) -> None:
        super().__init__()
        self._by_step: list[Normalisation] = []

    def at_step(self, x: RateSTensor, norm: BatchNorm) -> RateSTensor:
        # The running statistics change at each step.
        normalisation = norm.statistics(x.values()) if norm.training else norm.running()
        self._by_step.append(normalisation)
        if x.static:
            return self.static_step(normalisation if norm.training else norm, [x])
        return self._normalised(x, normalisation)

    def at_means(self, x: RateSTensor, norm: BatchNorm) -> RateSTensor:
        if x.static:
            return self.static_mean(self._by_step[0] if norm.training else norm, [x])
        return self._normalised(x, mean_statistics(self._by_step, norm) if norm.training else norm.running())

    def _normalised(self, x: RateSTensor, normalisation: Normalisation) -> RateSTensor:
        """Left to the next neurons. With running statistics it commutes with the time mean, and needs no sum."""
        deferred, place = Current([Term(x.resolve(), normalisation)], 1), None if normalisation.fixed else self
        return RateSTensor(deferred, x.state, static=False, place=place).left_to_neurons()


class RateSFire(RateSOperation):
    """The loop of a neuron layer."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: RateLoop | None = None

    def at_step(self, x: RateSTensor, neurons: Neurons) -> RateSTensor:
        if self._loop is None:
            self._loop = neurons.rate_loop(x.current, x.timesteps)
        return RateSTensor.of_step(self._loop.step(x.current), x.state, static=False)

    def at_means(self, x: RateSTensor, neurons: Neurons) -> RateSTensor:
        assert self._loop is not None
        counts, derivatives = self._loop.finish()
        self._loop = None
        rate = firing_rate(counts, x.timesteps, x.dtype)
        means = [term.steps.time_mean() for term in x.current.terms if term.normalisation]
        proxy = firing.rate_proxy(x.current.terms, means, derivatives, neurons.learnt)
        return RateSTensor.of_means(
            rate, x.state, static=False, grad_proxy=proxy, counts=WeightInput(counts, x.timesteps)
        )


def half_of(kind: type[RateSOperation], inputs: Sequence[RateSTensor]) -> Callable[..., RateSTensor]:
    """The half of an operation for this pass. Raises ValueError for a value that was kept from another pass."""
    state = inputs[0].state
    place = state.place(kind)
    if any(x.of_time != state.of_time for x in inputs):
        raise ValueError(BRANCHES_IN_TIME)
    return place.at_step if state.of_time else place.at_means


def mean_statistics(by_step: Sequence[Normalisation], norm: BatchNorm) -> Normalisation:
    """The batch norm with the time means of μ and of 1/√(σ² + ε)."""
    count = len(by_step)
    means, variances = [each.mean for each in by_step], [each.variance for each in by_step]
    if all(variance is not None for variance in variances):
        both = torch.stack([*means, *variances])  # type: ignore[list-item]  # none of them is None
        both[count:].add_(norm.eps).rsqrt_()
    else:
        both = torch.stack([*means, *(each.inverse_deviation for each in by_step)])
    # One after the other: a sum by torch itself has another order.
    total = functools.reduce(torch.add, both.unflatten(0, (2, count)).unbind(1))
    mean, inverse_deviation = (total / count).unbind(0)
    return Normalisation(norm, mean, None, inverse_deviation)


def _static(inputs: Sequence[RateSTensor]) -> bool:
    return all(x.static for x in inputs)
