"""The carrier of rate_M: the whole sequence without a graph, and the graph of its time mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd import rate_neuron
from rbp_engine.spiking.autograd.batch_norm import BatchNorm
from rbp_engine.spiking.autograd.weighted import weighted_gradient
from rbp_engine.spiking.carrier import all_carriers, check_scaling, is_plain_sum, replace_carriers
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.kernels import lif
from rbp_engine.spiking.kernels.neuron_input import Current, Steps, Term
from rbp_engine.spiking.lif_parameters import LIFParameters
from rbp_engine.spiking.tensor_like import TensorLike


class RateTensor(TensorLike):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] which carries the graph (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean.

    What carries the graph lies with the steps whose mean it is the graph of (`spiking/kernels/neuron_input.py`). Its
    values are known from the sequence; they are put to it when somebody asks for `rate`, which convolutions and neurons
    do not.
    """

    recomputable = True

    def __init__(self, sequence: SequenceTensor, grad_proxy: Tensor | None = None) -> None:
        """`grad_proxy` [B, …] carries the gradient of the time mean; None where the steps already have a proxy."""
        self.sequence = sequence
        self.timesteps = sequence.timesteps
        if grad_proxy is not None:
            sequence.by_step.grad_proxy = grad_proxy

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] that are the same at every step."""
        return cls(SequenceTensor(values.detach(), timesteps, static=True), values)

    @property
    def steps(self) -> Steps:
        """All timesteps, computed if need be, and the graph of their mean."""
        if not self.sequence.deferred:
            return self.sequence.by_step
        rate = self.sequence.current.rate()
        steps = self.sequence.by_step
        steps.mean, steps.grad_proxy = rate.detach(), rate
        return steps

    @property
    def computed(self) -> SequenceTensor:
        """The sequence with nothing still to be carried out, also where this carrier stays as it is."""
        return self.sequence.like(Current([Term(self.steps)], self.timesteps), static=self.sequence.static)

    def stay(self) -> None:
        self.sequence.stay()

    @property
    def rate(self) -> Tensor:
        """[B, …]."""
        return self.steps.rate()

    @property
    def batch(self) -> Tensor:
        return self.sequence.batch

    def fire(self, parameters: LIFParameters) -> RateTensor:
        current = self.sequence.current
        spikes, counts, eligibility = lif.rate(current, parameters)
        grad_proxy = rate_neuron.grad_proxy(current.terms, eligibility)
        steps = Steps(spikes, spikes_of=self.dtype, counts=counts, grad_proxy=grad_proxy)
        return RateTensor(SequenceTensor(Current([Term(steps)], self.timesteps), self.timesteps))

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        rate = function(*replace_carriers(args, lambda x: x.rate), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(args))
        return cls._with_mean(_on_sequence(SequenceTensor.per_step, function, args, kwargs), rate)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        check_scaling(function.__name__, args)
        if is_plain_sum(function, args, kwargs) and any(x.sequence.deferred for x in args):
            left, right = (x.computed if len(x.sequence.current.terms) > 1 else x.sequence for x in args)
            with torch.no_grad():
                return cls(left.plus(right))
        rate = function(*replace_carriers(args, lambda x: x.rate), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(args))
        with torch.no_grad():
            sequence = SequenceTensor.elementwise(function, replace_carriers(args, lambda x: x.sequence), **kwargs)
        return cls._with_mean(sequence, rate)

    @classmethod
    def _with_mean(cls, sequence: SequenceTensor, rate: Tensor) -> Self:
        """A sequence whose time mean is known, with its graph."""
        sequence.by_step.mean = rate.detach()
        return cls(sequence, rate)

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        x: Self = args[0]
        steps = x.steps
        sequence = _on_sequence(SequenceTensor.per_step, function, args, kwargs)
        gradient = weighted_gradient(function.__name__, args[1:], kwargs)
        return cls(sequence, gradient(steps.grad_proxy, steps.weight_input(x.timesteps), sequence.batch))

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        routed = function(*replace_carriers(args, lambda x: x.rate), **kwargs)
        return cls(_on_sequence(SequenceTensor.per_step, function, args, kwargs), routed)

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        sequence = x.computed
        if sequence.static:
            return cls.static(norm.static(x.rate, x.timesteps), x.timesteps)
        with torch.no_grad():
            return cls(sequence.normalised(norm.statistics(sequence.values.flatten(0, 1))))

    @classmethod
    def fixed_batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        sequence = x.computed
        if sequence.static:
            return cls.per_step(norm, (x,), {})
        with torch.no_grad():
            return cls(sequence.normalised(norm.running()))


def _timesteps(args: tuple[Any, ...]) -> int:
    return int(next(iter(all_carriers(args))).timesteps)


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.sequence.static for carrier in all_carriers(args))


def _on_sequence(kind: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return kind(function, replace_carriers(args, lambda x: x.sequence), kwargs)
