"""The two carriers of rate_S: timesteps without a graph that add to means, then the means with their graph.

    MeanStepTensor    first phase, once for every timestep: layers add up what the second needs
    MeanTensor        second phase, once: the graph at batch B over the means (paper, section 4.2, algorithm 1)

Everything in between lies on the `StepState` of the training step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd import rate_neuron, weighted
from rbp_engine.spiking.autograd.batch_norm import BatchNorm, Normalisation, Repeated
from rbp_engine.spiking.autograd.weighted import weighted_gradient
from rbp_engine.spiking.carrier import all_carriers, check_scaling, is_plain_sum, replace_carriers
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.carriers.step_state import StepState
from rbp_engine.spiking.kernels import lif
from rbp_engine.spiking.kernels.neuron_input import Current, Steps, Term, membrane_dtype
from rbp_engine.spiking.lif_parameters import LIFParameters
from rbp_engine.spiking.tensor_like import TensorLike


class Total:
    """Tensors of one shape, summed over timesteps."""

    def __init__(self, like: Tensor) -> None:
        self._dtype = like.dtype
        self._sum = torch.zeros_like(like, dtype=membrane_dtype(like.dtype))
        self._count = 0

    def add(self, tensor: Tensor) -> None:
        self._sum.add_(tensor)
        self._count += 1

    def mean(self) -> Tensor:
        """Asked for once."""
        return self._sum.div_(self._count).to(self._dtype)


@dataclass
class Once:
    """What an operation before the first neuron makes of an image that is the same at every step."""

    output: Tensor


class MeanStepTensor(TensorLike):
    """Values [B, …] of one timestep, without a graph. A static image is computed at the first timestep only.

    They may come as a `SequenceTensor` of length one, whose batch norms and sums are not carried out yet.
    """

    def __init__(self, values: Tensor | SequenceTensor, state: StepState, static: bool) -> None:
        self.sequence = values if isinstance(values, SequenceTensor) else SequenceTensor(values.unsqueeze(0), 1)
        self.state = state
        self.static = static
        self.timesteps = state.timesteps

    @property
    def batch(self) -> Tensor:
        return self.sequence.batch

    @property
    def deferred(self) -> int:
        """The number of terms whose batch norms or sum are still to be carried out, else 0."""
        return len(self.sequence.current.terms) if self.sequence.deferred else 0

    @property
    def values(self) -> Tensor:
        """[B, …]."""
        if self.deferred:
            # Only a neuron does without the value, and then so does the second phase.
            _total(self.state, self.sequence.values[0])
        return self.sequence.values[0]

    def fire(self, parameters: LIFParameters) -> MeanStepTensor:
        current = self.sequence.current
        loop = self.state.record(lif.RateLoop, lambda: lif.RateLoop(current.batch, self.timesteps, parameters))
        return MeanStepTensor(loop.step(current), self.state, static=False)

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.state.record(Tensor, draw)

    def cast_weight(self, weight: Tensor) -> Tensor:
        return self.state.record(Tensor, lambda: weight.to(self.dtype))

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        first = next(iter(all_carriers(args)))

        def compute() -> Tensor:
            return function(*replace_carriers(args, lambda x: x.values), **kwargs)

        if _all_static(args):
            return cls(first.state.record(Once, lambda: Once(compute())).output, first.state, static=True)
        return cls(compute(), first.state, static=False)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        if not _stays_deferred(function, args, kwargs):
            return cls.per_step(function, args, kwargs)
        for x in args:
            if x.deferred > 1:
                _ = x.values
        left, right = args
        return cls(left.sequence.plus(right.sequence), left.state, static=False)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        out = cls.per_step(function, args, kwargs)
        if not out.static:
            _total(out.state, out.values)
        return out

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if not x.static:
            known = norm.statistics(x.values)
            _total(x.state, known.mean)
            _total(x.state, known.inverse_deviation)
            return cls(x.sequence.normalised(known), x.state, static=False)
        # The batch's statistics are computed once; the running ones move at every step, by the momentum of that step.
        repeated = x.state.record(Repeated, lambda: norm.repeated(x.values))
        norm.follow(repeated)
        return cls.per_step(repeated.normalisation, (x,), {})


class MeanTensor(TensorLike):
    """Time means [B, …] with their graph; values that do not commute with the mean are read from the state.

    What is deferred here is what was with the `MeanStepTensor` at this place.
    """

    def __init__(self, mean: Tensor | Current, state: StepState, static: bool) -> None:
        self.current = mean if isinstance(mean, Current) else _alone(mean, mean)
        self.state = state
        self.static = static
        self.timesteps = state.timesteps

    @property
    def deferred(self) -> int:
        """The number of terms whose batch norms or sum are still to be carried out, else 0."""
        terms = self.current.terms
        return len(terms) if len(terms) > 1 or terms[0].normalisation else 0

    @property
    def batch(self) -> Tensor:
        return self.current.batch

    @property
    def steps(self) -> Steps:
        """The mean, computed if need be."""
        if self.deferred:
            self.current = _alone(self.state.take(Total).mean(), self.current.rate())
        return self.current.terms[0].steps

    @property
    def rate(self) -> Tensor:
        """[B, …]."""
        return self.steps.rate()

    def fire(self, parameters: LIFParameters) -> MeanTensor:
        counts, eligibility = self.state.take(lif.RateLoop).finish()
        rate = weighted.firing_rate(counts, self.timesteps, eligibility.dtype)
        current = _alone(rate, rate_neuron.grad_proxy(self.current.terms, eligibility), counts)
        return MeanTensor(current, self.state, static=False)

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.state.take(Tensor)

    def cast_weight(self, weight: Tensor) -> Tensor:
        self.state.take(Tensor)  # has no graph
        return weight.to(self.dtype)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        state, static = next(iter(all_carriers(args))).state, _all_static(args)
        rate = function(*replace_carriers(args, lambda x: x.rate), **kwargs)
        if static:
            state.take(Once)
        return cls(rate, state, static)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        check_scaling(function.__name__, args)
        if not _stays_deferred(function, args, kwargs):
            return cls.per_step(function, args, kwargs)
        for x in args:
            if x.deferred > 1:
                _ = x.steps
        left, right = args
        return cls(Current([*left.current.terms, *right.current.terms], 1), left.state, static=False)

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        x: Self = args[0]
        steps = x.steps
        if x.static:
            value = x.state.take(Once).output
        else:
            # The mean output. To have summed it up in the first phase would take a [B, …] of every layer until here.
            with torch.no_grad():
                value = function(steps.time_mean(), *args[1:], **kwargs)
        gradient = weighted_gradient(function.__name__, args[1:], kwargs)
        grad_proxy = gradient(steps.grad_proxy, steps.weight_input(x.timesteps), value)
        return cls(_alone(value, grad_proxy), x.state, x.static)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        routed = cls.per_step(function, args, kwargs)
        if routed.static:
            return routed
        return cls(_alone(routed.state.take(Total).mean(), routed.rate), routed.state, static=False)

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.static:
            return cls.per_step(x.state.take(Repeated).normalisation, (x,), {})
        steps = x.steps
        mean, inverse_deviation = (x.state.take(Total).mean() for _ in range(2))
        return cls(Current([Term(steps, Normalisation(norm, mean, inverse_deviation))], 1), x.state, static=False)


def _alone(mean: Tensor, grad_proxy: Tensor, counts: Tensor | None = None) -> Current:
    """A mean [B, …] and what carries its gradient, with nothing still to be carried out."""
    return Current([Term(Steps(mean.detach(), static=True, counts=counts, grad_proxy=grad_proxy))], 1)


def _total(state: StepState, tensor: Tensor) -> None:
    """Add to the sum of this place in the network."""
    state.record(Total, lambda: Total(tensor)).add(tensor)


def _stays_deferred(function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it is a sum that the next neuron can carry out; the same answer in both phases."""
    return is_plain_sum(function, args, kwargs) and any(x.deferred for x in args)


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.static for carrier in all_carriers(args))
