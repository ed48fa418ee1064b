"""The carrier of rate_M: the whole sequence without a graph, and the gradient of its time mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd import rate_neuron
from rbp_engine.spiking.autograd.at_the_rates import MatrixProductGradient, ProductGradient, max_pool2d_gradient
from rbp_engine.spiking.autograd.batch_norm import BatchNorm
from rbp_engine.spiking.autograd.nonlinear import Nonlinear
from rbp_engine.spiking.autograd.weighted import WeightInput, weighted_gradient
from rbp_engine.spiking.carrier import all_carriers, replace_carriers
from rbp_engine.spiking.carriers.deferred_sum import DeferredSum, deferred_terms
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.kernels.neuron_input import Current, Term
from rbp_engine.spiking.kernels.neurons import Neurons
from rbp_engine.spiking.kernels.steps import Dense, Spikes, Steps, TimeConstant


class RateTensor(DeferredSum):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] with its gradient (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean.

    The sequence's steps hold a gradient proxy of their mean; convolutions and neurons need no more. `rate()` joins it
    with the value of the mean.
    """

    def __init__(self, sequence: SequenceTensor, grad_proxy: Tensor | None = None, mean: Tensor | None = None) -> None:
        """`grad_proxy` [B, …] carries the gradient of the time mean; None for data, and where the steps have a proxy.

        `mean` [B, …] is the value of the time mean, if it is known already.
        """
        self.timesteps = sequence.timesteps
        self.current = sequence.current
        if grad_proxy is not None:
            self.current = Current([Term(sequence.resolve().with_gradient(grad_proxy, mean))], self.timesteps)

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] with their graph that are the same at every step."""
        return cls(SequenceTensor(values.detach(), timesteps, static=True), values)

    @property
    def sequence(self) -> SequenceTensor:
        """The sequence alone; whatever is done with it leaves this carrier as it is."""
        with torch.no_grad():
            return SequenceTensor(self.current, self.timesteps)

    def _compute(self) -> Steps:
        rate = self.current.rate()
        with torch.no_grad():
            return Dense(self.current.compute(), rate.detach(), grad_proxy=rate)

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        return self.resolve().rate()

    def spikes_by_step(self) -> Iterable[tuple[int, Tensor]]:
        steps = self.resolve()
        return ((t, steps.at(t)) for t in range(self.timesteps))

    def fire(self, neurons: Neurons) -> RateTensor:
        spikes, counts, derivatives, means = neurons.rate(self.current)
        grad_proxy = rate_neuron.grad_proxy(self.current.terms, means, derivatives, neurons.learnt)
        return self._of([Term(Spikes(spikes, counts, self.dtype, grad_proxy=grad_proxy))], self.timesteps)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        return cls._commuting(SequenceTensor.per_step, function, args, kwargs)

    @classmethod
    def each_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        return cls._commuting(SequenceTensor.each_step, function, args, kwargs)

    @classmethod
    def moved(
        cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], *, whole_samples: bool
    ) -> Self:
        x: Self = args[0]
        if not isinstance(x, cls) or x.current.static or len(list(all_carriers(args))) > 1:
            return super().moved(function, args, kwargs, whole_samples=whole_samples)

        def move(tensor: Tensor) -> Tensor:
            return function(tensor, *args[1:], **kwargs)

        steps = x.resolve()
        if isinstance(steps, Spikes):
            return cls._of([Term(steps.moved(move))], x.timesteps)
        if steps.mean_is_known:
            return super().moved(function, args, kwargs, whole_samples=whole_samples)
        kind = SequenceTensor.per_step if whole_samples else SequenceTensor.each_step
        proxy = None if steps.grad_proxy is None else move(steps.grad_proxy)
        return cls(_on_sequence(kind, function, args, kwargs), proxy)

    @classmethod
    def pieces(
        cls, function: Callable[..., Sequence[Tensor]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Sequence[Self]:
        x: Self = args[0]
        steps = x.resolve()
        if not isinstance(steps, Spikes):
            return super().pieces(function, (cls._of([Term(steps)], x.timesteps), *args[1:]), kwargs)
        parts = steps.split(lambda tensor: function(tensor, *args[1:], **kwargs))
        return [cls._of([Term(part)], x.timesteps) for part in parts]

    @classmethod
    def _commuting(cls, kind: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Apply a function that commutes with the time mean, to the sequence in the way that `kind` does."""
        rate = function(*replace_carriers(args, lambda x: x.rate()), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(args))
        return cls(_on_sequence(kind, function, args, kwargs), rate, rate.detach())

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        terms = deferred_terms(function, args, kwargs)
        if terms is not None:
            return cls._of(terms, _timesteps(args))
        rate = function(*replace_carriers(args, lambda x: x.rate()), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(args))
        with torch.no_grad():
            sequence = SequenceTensor.elementwise(function, replace_carriers(args, lambda x: x.sequence), **kwargs)
        return cls(sequence, rate, rate.detach())

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        x: Self = args[0]
        steps = x.resolve()
        sequence = _on_sequence(SequenceTensor.per_step, function, args, kwargs)
        gradient = weighted_gradient(function.__name__, args[1:], kwargs)
        return cls(sequence, gradient(steps.grad_proxy, steps.weight_input(), sequence.like))

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        if function.__name__ != "max_pool2d":
            at_rates = function(*replace_carriers(args, lambda x: x.rate()), **kwargs)
            return cls(_on_sequence(SequenceTensor.per_step, function, args, kwargs), at_rates)
        x, *settings = args
        # This is several times faster where channels are last; the mean of a sequence loses that layout.
        terms = [Term(term.steps.with_laid_out_mean(), term.normalisation) for term in x.current.terms]
        x.current = Current(terms, x.timesteps)
        rate = x.rate()
        sequence = _on_sequence(SequenceTensor.per_step, function, args, kwargs)
        return cls(sequence, max_pool2d_gradient(rate, sequence.like, *settings, **kwargs))

    @classmethod
    def bilinear(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        if function.__name__ in ("matmul", "bmm") and all(carrier.ndim > 1 for carrier in args):
            return cls._matrix_product(function, *args)
        given = [*args, *kwargs.values()]
        places = [place for place, arg in enumerate(given) if isinstance(arg, (cls, Tensor))]
        factors = [given[place] for place in places]
        # The graph keeps the product until its backward, and must not keep the sequences with it.
        others = [None if place in places else arg for place, arg in enumerate(given)]
        number, names = len(args), tuple(kwargs)

        def product(at_the_rates: Sequence[Tensor]) -> Tensor:
            by_place = dict(zip(places, at_the_rates, strict=True))
            filled = [by_place.get(place, arg) for place, arg in enumerate(others)]
            return function(*filled[:number], **dict(zip(names, filled[number:], strict=True)))

        sequence = _on_sequence(SequenceTensor.each_step, function, args, kwargs)
        means = [x.resolve().weight_input() if isinstance(x, cls) else WeightInput(x.detach()) for x in factors]
        proxies = [x.resolve().grad_proxy if isinstance(x, cls) else x for x in factors]
        return cls(sequence, ProductGradient.apply(means, sequence.like, product, *proxies))

    @classmethod
    def _matrix_product(cls, function: Callable[..., Tensor], left: Self, right: Self) -> Self:
        factors = [x.resolve() for x in (left, right)]
        with torch.no_grad():
            sequences = [
                SequenceTensor(x.matrices(), left.timesteps, static=isinstance(x, TimeConstant)) for x in factors
            ]
            sequence = SequenceTensor.each_step(function, tuple(sequences), {})
        means, proxies = [x.weight_input() for x in factors], [x.grad_proxy for x in factors]
        return cls(sequence, MatrixProductGradient.apply(means, sequence.like, *proxies))

    @classmethod
    def nonlinear(cls, x: Self, operation: Nonlinear) -> Self:
        if x.current.static:
            return cls.per_step(operation, (x,), {})
        steps, shape = x.resolve(), (x.timesteps, -1)
        with torch.no_grad():
            out, parts = operation.steps(steps.values().flatten(0, 1))
            sequence = out.unflatten(0, shape)
            mean, means = sequence.mean(0), [part.unflatten(0, shape).mean(0) for part in parts]
        proxy = operation.grad_proxy(steps.rate(), mean, means)
        return cls(SequenceTensor(sequence, x.timesteps), proxy, mean)

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.current.static:
            return cls.static(norm.static(x.rate(), x.timesteps), x.timesteps)
        steps = x.resolve()
        return cls._of([Term(steps, norm.statistics(steps.values().flatten(0, 1)))], x.timesteps)

    @classmethod
    def fixed_batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.current.static:
            return cls.per_step(norm, (x,), {})
        return cls._of([Term(x.resolve(), norm.running())], x.timesteps)

    @classmethod
    def _of(cls, terms: Sequence[Term], timesteps: int) -> Self:
        """A sum that is deferred, or of one term; the terms hold their gradient proxies."""
        return cls(SequenceTensor(Current(terms, timesteps), timesteps))


def _timesteps(args: tuple[Any, ...]) -> int:
    return int(next(iter(all_carriers(args))).timesteps)


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.current.static for carrier in all_carriers(args))


def _on_sequence(kind: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return kind(function, replace_carriers(args, lambda x: x.sequence), kwargs)
