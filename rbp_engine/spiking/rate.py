"""The carrier of rate_M: the whole sequence without a graph, and its time mean with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking import lif
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.carrier import Carrier, all_carriers, check_scaling, replace_carriers
from rbp_engine.spiking.current import Current, Steps, Term
from rbp_engine.spiking.gradients import NeuronRate, Seen, WithValue, firing_rate, weighted_gradient
from rbp_engine.spiking.sequence import SequenceTensor

if TYPE_CHECKING:
    from rbp_engine.spiking.neuron import LIF


class RateTensor(Carrier):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] which carries the graph (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean: `sequence` then holds the values of `rate`.

    `rate` may be a function that makes it. The next neuron reads the sequence anyway and finds the time means that the
    function needs, so that nobody has to read all T steps for them alone.
    """

    def __init__(
        self, sequence: SequenceTensor, rate: Tensor | Callable[[], Tensor], counts: Tensor | None = None
    ) -> None:
        """`counts` [B, …] are the numbers of spikes, where the sequence is one of spikes."""
        self.sequence = sequence
        self.counts = counts
        self.timesteps = sequence.timesteps
        self._rate = rate
        if isinstance(rate, Tensor) and not sequence.pending:
            sequence.by_step.mean = rate.detach()

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] that are the same at every step."""
        return cls(SequenceTensor(values.detach(), timesteps, static=True), values)

    @property
    def rate(self) -> Tensor:
        """[B, …]."""
        if not isinstance(self._rate, Tensor):
            self._rate = self._rate()
        return self._rate

    @property
    def batch(self) -> Tensor:
        return self.sequence.batch

    def fire(self, neuron: LIF) -> RateTensor:
        spikes, counts, eligibility = lif.rate(self.sequence.current, kernel=neuron.kernel, **neuron.settings)
        rate = firing_rate(counts, self.timesteps, self.dtype)
        sequence = Current([Term(Steps(spikes, spikes_of=self.dtype))], self.timesteps)
        mean = NeuronRate.apply(self.rate, rate, eligibility)
        return RateTensor(SequenceTensor(sequence, self.timesteps), mean, counts)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        rate = function(*replace_carriers(args, lambda x: x.rate), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(args))
        return cls(_on_sequence(SequenceTensor.per_step, function, args, kwargs), rate)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        check_scaling(function.__name__, args)

        def rate() -> Tensor:
            return function(*replace_carriers(args, lambda x: x.rate), **kwargs)

        if _all_static(args):
            return cls.static(rate(), _timesteps(args))
        with torch.no_grad():
            sequence = SequenceTensor.elementwise(function, replace_carriers(args, lambda x: x.sequence), **kwargs)
        return cls(sequence, rate if sequence.pending else rate())

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        x: Self = args[0]
        sequence, graph = _on_sequence(SequenceTensor.per_step, function, args, kwargs), x.rate
        seen = Seen(graph.detach()) if x.counts is None else Seen(x.counts, x.timesteps)
        gradient = weighted_gradient(function.__name__, args[1:], kwargs)
        return cls(sequence, lambda: gradient(graph, seen, sequence.time_mean()))

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        sequence = _on_sequence(SequenceTensor.per_step, function, args, kwargs)
        routed = function(*replace_carriers(args, lambda x: x.rate), **kwargs)
        return cls(sequence, WithValue.apply(routed, sequence.time_mean()))

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.sequence.static:
            return cls.static(norm.static(x.rate, x.timesteps), x.timesteps)
        with torch.no_grad():
            known = norm.statistics(x.sequence.values.flatten(0, 1))
            sequence = x.sequence.normalised(known)
        return cls(sequence, lambda: known(x.rate))

    @classmethod
    def fixed_batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.sequence.static:
            return cls.per_step(norm, (x,), {})
        with torch.no_grad():
            sequence = x.sequence.normalised(norm.running())
        return cls(sequence, lambda: norm(x.rate))


def _timesteps(args: tuple[Any, ...]) -> int:
    return int(next(iter(all_carriers(args))).timesteps)


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.sequence.static for carrier in all_carriers(args))


def _on_sequence(kind: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return kind(function, replace_carriers(args, lambda x: x.sequence), kwargs)
