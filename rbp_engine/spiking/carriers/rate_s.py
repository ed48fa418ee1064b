"""The two carriers of rate_S: timesteps without a graph that add to means, then the means with their graph.

    RateSStep     first phase, once for every timestep: layers add up what the second phase needs
    RateSMeans    second phase, once: the graph at batch B over the means (paper, section 4.2, algorithm 1)

What the first phase leaves for the second is in the `StepState` of the training step. Both phases must resolve a
deferred sum in the same places: the first adds its values up there, the second takes their mean.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd import rate_neuron
from rbp_engine.spiking.autograd.batch_norm import BatchNorm, Normalisation, Repeated
from rbp_engine.spiking.autograd.nonlinear import Nonlinear
from rbp_engine.spiking.autograd.weighted import WeightInput, firing_rate, weighted_gradient
from rbp_engine.spiking.carrier import all_carriers, replace_carriers
from rbp_engine.spiking.carriers.deferred_sum import DeferredSum, deferred_terms
from rbp_engine.spiking.carriers.step_state import DrawnOnce, StepState, TimestepCarrier
from rbp_engine.spiking.kernels.neuron_input import Current, CurrentReader, Term, membrane_dtype
from rbp_engine.spiking.kernels.neurons import Neurons, RateLoop
from rbp_engine.spiking.kernels.steps import Dense, Steps, TimeConstant


class SumOverSteps:
    """The sum over timesteps of tensors of one shape."""

    def __init__(self, like: Tensor) -> None:
        self._dtype = like.dtype
        self._sum = torch.zeros_like(like, dtype=membrane_dtype(like.dtype))
        self._count = 0

    def add(self, tensor: Tensor) -> None:
        self._sum.add_(tensor)
        self._count += 1

    def mean(self) -> Tensor:
        """The time mean; it overwrites the sum, so it can be taken once."""
        return self._sum.div_(self._count).to(self._dtype)


class StatisticsOverSteps:
    """Mean and 1/√(var + ε) of a batch norm, [C] each, over timesteps."""

    def __init__(self) -> None:
        self._known: list[Normalisation] = []

    def add(self, known: Normalisation) -> None:
        self._known.append(known)

    def mean(self, norm: BatchNorm) -> Normalisation:
        """The batch norm with the time means of both."""
        count = len(self._known)
        means, variances = [known.mean for known in self._known], [known.variance for known in self._known]
        if all(variance is not None for variance in variances):
            both = torch.stack([*means, *variances])  # type: ignore[list-item]  # none of them is None
            both[count:].add_(norm.eps).rsqrt_()
        else:
            both = torch.stack([*means, *(known.inverse_deviation for known in self._known)])
        # One after the other: what torch adds up itself comes in another order.
        total = functools.reduce(torch.add, both.unflatten(0, (2, count)).unbind(1))
        mean, inverse_deviation = (total / count).unbind(0)
        return Normalisation(norm, mean, None, inverse_deviation)


@dataclass
class Firing:
    """A neuron layer between its timesteps."""

    loop: RateLoop


@dataclass
class StaticOutput:
    """The output [B, …] of an operation before the first neuron, for an image that is the same at every step."""

    output: Tensor


class RateSCarrier(DeferredSum):
    """What both have: the records of the training step, and whether all comes from a static image."""

    def __init__(self, current: Current, state: StepState, static: bool) -> None:
        self.current = current
        self.state = state
        self.static = static
        self.timesteps = state.timesteps

    @classmethod
    def _mean_of_steps(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """A function that does not commute with the time mean, at its place in the network."""
        raise NotImplementedError

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        terms = deferred_terms(function, args, kwargs)
        if terms is None:
            return cls.per_step(function, args, kwargs)
        return cls(Current(terms, 1), args[0].state, static=False)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        return cls._mean_of_steps(function, args, kwargs)

    @classmethod
    def bilinear(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        return cls._mean_of_steps(function, args, kwargs)


class RateSStep(TimestepCarrier, RateSCarrier):
    """Values [B, …] of one timestep, without a graph. A static image is computed at the first timestep only."""

    def __init__(self, values: Tensor | Current, state: StepState, static: bool) -> None:
        """`values` are [B, …], or a `Current` of one timestep."""
        if isinstance(values, Tensor):
            values = Current([Term(Dense(values.unsqueeze(0)))], 1)
        super().__init__(values, state, static)

    def _compute(self) -> Steps:
        steps = Dense(self.current.compute())
        _add_up(self.state, steps.at(0))
        return steps

    def values(self) -> Tensor:
        return self.resolve().at(0)

    def currents_by_step(self, samples: int) -> Iterable[tuple[int, Tensor]]:
        return [(self.state.step, CurrentReader(self.current.first(samples)).at(0))]

    def fire(self, neurons: Neurons) -> RateSStep:
        current = self.current
        kept = self.state.record(Firing, lambda: Firing(neurons.rate_loop(current.like, self.timesteps)))
        return RateSStep(kept.loop.step(current), self.state, static=False)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        first = next(iter(all_carriers(args)))

        def compute() -> Tensor:
            return function(*replace_carriers(args, lambda x: x.values()), **kwargs)

        if _all_static(args):
            known = first.state.record(StaticOutput, lambda: StaticOutput(compute()))
            return cls(known.output, first.state, static=True)
        return cls(compute(), first.state, static=False)

    @classmethod
    def _mean_of_steps(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """What the function gives at this step; the second phase takes the mean."""
        out = cls.per_step(function, args, kwargs)
        if not out.static:
            _add_up(out.state, out.values())
        return out

    @classmethod
    def nonlinear(cls, x: Self, operation: Nonlinear) -> Self:
        if x.static:
            return cls.per_step(operation, (x,), {})
        out, parts = operation.steps(x.values())
        for each in (out, *parts):
            _add_up(x.state, each)
        return cls(out, x.state, static=False)

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if not x.static:
            known = norm.statistics(x.values())
            x.state.record(StatisticsOverSteps, StatisticsOverSteps).add(known)
            return cls(Current([Term(x.resolve(), known)], 1), x.state, static=False)
        # The batch's statistics are computed once; the running ones move at every step, by the momentum of that step.
        repeated = x.state.record(Repeated, lambda: norm.repeated(x.values()))
        norm.follow(repeated)
        return cls.per_step(repeated.normalisation, (x,), {})


class RateSMeans(RateSCarrier):
    """Time means [B, …] with their gradient; what does not commute with the mean is taken from the state."""

    def __init__(self, mean: Tensor | TimeConstant | Current, state: StepState, static: bool) -> None:
        if isinstance(mean, Tensor):
            mean = _known(mean, mean)
        super().__init__(mean if isinstance(mean, Current) else Current([Term(mean)], 1), state, static)

    def _compute(self) -> Steps:
        return _known(self.state.take(SumOverSteps).mean(), self.current.rate())

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        return self.resolve().rate()

    def currents_by_step(self, samples: int) -> Iterable[tuple[int, Tensor]]:
        return ()  # the first phase had them all

    def spikes_by_step(self) -> Iterable[tuple[int, Tensor]]:
        return ()  # the same

    def fire(self, neurons: Neurons) -> RateSMeans:
        counts, derivatives = self.state.take(Firing).loop.finish()
        rate = firing_rate(counts, self.timesteps, self.dtype)
        means = [term.steps.time_mean() for term in self.current.terms if term.normalisation]
        grad_proxy = rate_neuron.grad_proxy(self.current.terms, means, derivatives, neurons.learnt)
        return RateSMeans(_known(rate, grad_proxy, WeightInput(counts, self.timesteps)), self.state, static=False)

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.state.take(Tensor)

    def drawn_once(self, tensor: Tensor) -> Tensor:
        return self.state.take(DrawnOnce).instead_of(tensor)

    def cast_weight(self, weight: Tensor) -> Tensor:
        self.state.take(Tensor)  # the first phase's has no graph
        return weight.to(self.dtype)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        state, static = next(iter(all_carriers(args))).state, _all_static(args)
        rate = function(*replace_carriers(args, lambda x: x.rate()), **kwargs)
        if static:
            state.take(StaticOutput)
        return cls(rate, state, static)

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        x: Self = args[0]
        steps = x.resolve()
        if x.static:
            value = x.state.take(StaticOutput).output
        else:
            # The mean output. To sum it up in the first phase would keep a [B, …] of every layer in memory until here.
            with torch.no_grad():
                value = function(steps.time_mean(), *args[1:], **kwargs)
        gradient = weighted_gradient(function.__name__, args[1:], kwargs)
        grad_proxy = gradient(steps.grad_proxy, steps.weight_input(), value)
        return cls(_known(value, grad_proxy), x.state, x.static)

    @classmethod
    def _mean_of_steps(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """The mean of what the first phase added up, with the function's gradient at the means."""
        out = cls.per_step(function, args, kwargs)
        if out.static:
            return out
        return cls(_known(out.state.take(SumOverSteps).mean(), out.rate()), out.state, static=False)

    @classmethod
    def nonlinear(cls, x: Self, operation: Nonlinear) -> Self:
        if x.static:
            return cls.per_step(operation, (x,), {})
        rate = x.rate()
        out, *parts = (x.state.take(SumOverSteps).mean() for _ in range(1 + operation.parts))
        return cls(_known(out, operation.grad_proxy(rate, out, parts)), x.state, static=False)

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.static:
            return cls.per_step(x.state.take(Repeated).normalisation, (x,), {})
        steps = x.resolve()
        known = x.state.take(StatisticsOverSteps).mean(norm)
        return cls(Current([Term(steps, known)], 1), x.state, static=False)


def _known(mean: Tensor, grad_proxy: Tensor, counts: WeightInput | None = None) -> TimeConstant:
    """A time mean [B, …] and the proxy of its gradient."""
    return TimeConstant(mean.detach(), counts, grad_proxy=grad_proxy)


def _add_up(state: StepState, tensor: Tensor) -> None:
    """Add to the sum of this place in the network."""
    state.record(SumOverSteps, lambda: SumOverSteps(tensor)).add(tensor)


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.static for carrier in all_carriers(args))
