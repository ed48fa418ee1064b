"""The two carriers of rate_S: timesteps without a graph that add to means, then the means with their graph.

    MeanStepTensor    first phase, once for every timestep: neurons and batch norms add up what the second needs
    MeanTensor        second phase, once: the rate pass at batch B over the means (paper, section 4.2, algorithm 1)

Everything in between lies on the `Tape` of the training step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking import lif
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.carrier import Carrier, all_carriers, check_scaling, replace_carriers
from rbp_engine.spiking.gradients import NeuronRate, WithValue
from rbp_engine.spiking.tape import Tape

if TYPE_CHECKING:
    from rbp_engine.spiking.neuron import LIF


@dataclass
class Statistics:
    """Of a batch norm, summed over `count` timesteps: its output [B, C, …], μ_t and 1/√(var_t + ε), both [C]."""

    output: Tensor
    mean: Tensor
    inverse_deviation: Tensor
    count: int = 1

    def add(self, output: Tensor, mean: Tensor, inverse_deviation: Tensor) -> None:
        self.output += output
        self.mean += mean
        self.inverse_deviation += inverse_deviation
        self.count += 1


@dataclass
class Total:
    """An output [B, …] summed over timesteps."""

    output: Tensor


@dataclass
class Once:
    """What an operation before the first neuron makes of an image that is the same at every step."""

    output: Tensor


class MeanStepTensor(Carrier):
    """Values [B, …] of one timestep, without a graph. A static image is computed at the first timestep only."""

    def __init__(self, values: Tensor, tape: Tape, static: bool) -> None:
        self.values = values
        self.tape = tape
        self.static = static
        self.timesteps = tape.timesteps

    @property
    def batch(self) -> Tensor:
        return self.values

    def fire(self, neuron: LIF) -> MeanStepTensor:
        loop = self.tape.record(lif.RateLoop, lambda: lif.RateLoop(self.values, **neuron.settings))
        return MeanStepTensor(loop.step(self.values), self.tape, static=False)

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.tape.record(Tensor, draw)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        first = next(iter(all_carriers(args)))

        def compute() -> Tensor:
            return function(*replace_carriers(args, lambda x: x.values), **kwargs)

        if _all_static(args):
            return cls(first.tape.record(Once, lambda: Once(compute())).output, first.tape, static=True)
        return cls(compute(), first.tape, static=False)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        return cls.per_step(function, args, kwargs)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        out = cls.per_step(function, args, kwargs)
        out.tape.record(Total, lambda: Total(torch.zeros_like(out.values))).output += out.values
        return out

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        # A static image's running statistics move T times towards the same values, which is one longer move.
        momentum = 1.0 - (1.0 - norm.momentum) ** x.timesteps if x.static else norm.momentum
        if x.static or x.tape.step == 0:
            statistics = x.tape.record(Statistics, lambda: Statistics(*norm.with_statistics(x.values, momentum)))
            # What comes after may not see the sum grow.
            return cls(statistics.output if x.static else statistics.output.clone(), x.tape, x.static)
        out, mean, inverse_deviation = norm.with_statistics(x.values, momentum)
        x.tape.record(Statistics, lambda: Statistics(out, mean, inverse_deviation)).add(out, mean, inverse_deviation)
        return cls(out, x.tape, static=False)


class MeanTensor(Carrier):
    """Time means [B, …] with their graph; values that do not commute with the mean are read from the tape."""

    def __init__(self, rate: Tensor, tape: Tape, static: bool) -> None:
        self.rate = rate
        self.tape = tape
        self.static = static
        self.timesteps = tape.timesteps

    @property
    def batch(self) -> Tensor:
        return self.rate

    def fire(self, neuron: LIF) -> MeanTensor:
        rate, eligibility = self.tape.record(lif.RateLoop, _missing).finish()
        return MeanTensor(NeuronRate.apply(self.rate, rate, eligibility), self.tape, static=False)

    def dropout_mask(self, draw: Callable[[], Tensor]) -> Tensor:
        return self.tape.record(Tensor, _missing)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        tape, static = next(iter(all_carriers(args))).tape, _all_static(args)
        if static:
            tape.record(Once, _missing)
        return cls(function(*replace_carriers(args, lambda x: x.rate), **kwargs), tape, static)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        check_scaling(function.__name__, args)
        return cls.per_step(function, args, kwargs)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        routed = cls.per_step(function, args, kwargs)
        total = routed.tape.record(Total, _missing)
        return cls(WithValue.apply(routed.rate, total.output / routed.timesteps), routed.tape, routed.static)

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        total = x.tape.record(Statistics, _missing)
        mean, inverse_deviation = total.mean / total.count, total.inverse_deviation / total.count
        normalised = norm.at_rate(x.rate, mean, inverse_deviation)
        return cls(WithValue.apply(normalised, total.output / total.count), x.tape, x.static)


def _missing() -> Any:
    raise AssertionError("the second phase reads what the first has recorded")


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.static for carrier in all_carriers(args))
