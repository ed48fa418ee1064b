"""Rate-based backpropagation and BPTT as the paper states them: slow, and the definition of what the rest computes.

Every value is all T timesteps of it, [T, B, …], as plain tensors; autograd does the rest.

    SequenceReference    BPTT: the timesteps with their graph
    RateReference        the timesteps without a graph, and their mean r [B, …] with one (paper, section 4)

The rate methods replace the graph of T timesteps by that of a network without time, one operation at a time. Its values
are time means. Its gradients are of four kinds (docs/methods.md):

    linear operations    f(r): they commute with the mean, mean_t f(x_t) = f(mean_t x_t)
    anything else        the derivative at the mean, or the mean over time of the derivative, as each says below
    batch norms          the norm's own backward at r, with the mean over time of the statistics
    neurons              the derivative of r = mean_t s_t by a current that is added at every timestep (equation 10)

rate_M and rate_S differ in their batch norms alone: those of rate_M take statistics of all T·B samples together, those
of rate_S of the B samples of each timestep. Here both compute all timesteps of a layer before the next layer, so
rate_S saves no memory, and the running statistics of a batch norm that is used twice move in another order.

`create_method(name, timesteps, reference=True)` trains with it. It is for one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import singledispatch
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.dtypes import full, membrane_dtype
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.linear import Linear
from rbp_engine.spiking.neuron_protocol import Neurons
from rbp_engine.spiking.nonlinear import (
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    Nonlinear,
    Normalize,
    Pointwise,
    RMSNorm,
    Softmax,
)
from rbp_engine.spiking.rules.rule_table import TensorLike


def with_value(graph: Tensor, value: Tensor) -> Tensor:
    """A tensor with the value of `value` and the gradient of `graph`."""
    return value.detach() + (graph - graph.detach())


def added_at_every_step(rate: Tensor) -> Tensor:
    """0 with the gradient of r, to add a change of the mean to each timestep; no gradient where a mask makes r −∞."""
    finite = rate.masked_fill(rate.isinf(), 0.0)
    return finite - finite.detach()


def spikes_of(neurons: Neurons, currents: Iterable[Tensor]) -> Iterator[Tensor]:
    """The spikes s_t [B, …] of a layer at each timestep, from rest, with their graph (`spiking/neuron.py`)."""
    state: Any = None
    for current in currents:
        spikes, state = neurons.timestep(neurons.at_rest(current) if state is None else state, current)
        yield spikes


class Reference(TensorLike):
    """All timesteps of a value: `steps` is [T, B, …]."""

    def __init__(self, steps: Tensor) -> None:
        self._steps = steps
        self.timesteps = len(steps)

    @property
    def like(self) -> Tensor:
        return self._steps[0]

    def steps(self) -> Tensor:
        """[T, B, …]."""
        return self._steps

    def by_step(self, samples: int | None = None) -> Iterable[tuple[int, Tensor]]:
        return enumerate(self._steps[:, :samples])


class SequenceReference(Reference):
    """BPTT: each operation at each timestep, and autograd through all of it."""

    def time_mean(self) -> Tensor:
        """[B, …]."""
        return self._steps.mean(0)

    def fire(self, neurons: Neurons) -> Self:
        currents = full(self._steps)
        return type(self)(torch.stack(list(spikes_of(neurons, currents))).to(self.dtype))

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        return cls(at_each_step(operation, inputs))

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        return cls(at_each_step(operation, inputs))

    def batch_norm(self, norm: BatchNorm) -> Self:
        return type(self)(norm(self._steps.flatten(0, 1)).unflatten(0, (self.timesteps, -1)))


class RateReference(Reference):
    """The rate methods: the timesteps without a graph, and `rate` [B, …], their mean, with the graph that is trained.

    Batch norms take statistics over all timesteps together, as rate_M, or with `norms_by_step` over each, as rate_S.
    """

    def __init__(self, steps: Tensor, rate: Tensor, norms_by_step: bool = False) -> None:
        super().__init__(steps.detach())
        self._rate = rate
        self.norms_by_step = norms_by_step

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        return self._rate

    def with_values(self, steps: Tensor, rate: Tensor) -> Self:
        """Another value of the same method."""
        return type(self)(steps, rate, self.norms_by_step)

    def fire(self, neurons: Neurons) -> Self:
        """The derivative of r = mean_t s_t with respect to the mean current c, a current at every timestep.

        Autograd finds the eligibility of section 4 by itself: with ρ_t = ∂u_t/∂c, ρ_1 = 1 and
        ρ_{t+1} = 1 + ρ_t·∂u_{t+1}/∂u_t, it is ∂r/∂c = g = mean_t(σ'_t·ρ_t). ∂r/∂λ, ∂r/∂V_th and ∂r/∂θ of what is learnt
        come from the same mean.
        """
        dtype = membrane_dtype(self.dtype)
        currents = self._steps.to(dtype) + added_at_every_step(self._rate).to(dtype)
        spikes = torch.stack(list(spikes_of(neurons, currents))).to(self.dtype)
        return self.with_values(spikes, spikes.mean(0))

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        """f(r), which is mean_t f(x_t)."""
        with torch.no_grad():
            steps = at_each_step(operation, inputs)
        return inputs[0].with_values(steps, operation(*(x.rate() for x in inputs)))

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        """mean_t f(x_t), with a gradient of its own for each kind."""
        with torch.no_grad():
            steps = at_each_step(operation, inputs)
        graph = mean_derivative(operation, *inputs)
        return inputs[0].with_values(steps, with_value(graph, steps.mean(0)))

    def batch_norm(self, norm: BatchNorm) -> Self:
        """Batch norm's own backward at r, with the mean over the batches of μ and of 1/√(σ² + ε).

        With running statistics it is linear.
        """
        if self.processes is not None:
            raise UnsupportedOperation("batch_norm", "over several processes: the reference is for one")
        if not norm.training:
            return self.with_values(at_each_step(norm, [self]).detach(), norm(self._rate))
        batches = list(self._steps) if self.norms_by_step else [self._steps.flatten(0, 1)]
        with torch.no_grad():
            steps = torch.cat([norm(batch) for batch in batches]).unflatten(0, (self.timesteps, -1))
        over = [dim for dim in range(self.ndim) if dim != 1]
        graph = normalised(self._rate, *mean_moments(batches, over, norm.eps), over)
        graph = scaled_and_shifted(graph, norm.weight, norm.bias, self.ndim - 2)
        return self.with_values(steps, with_value(graph, steps.mean(0)))


def at_each_step(operation: Callable[..., Tensor], inputs: Sequence[Reference]) -> Tensor:
    """An operation at each timestep of its inputs, [T, B, …]."""
    return torch.stack([operation(*values_t) for values_t in zip(*(x.steps() for x in inputs), strict=True)])


def mean_moments(batches: list[Tensor], over: list[int], eps: float) -> tuple[Tensor, Tensor]:
    """The means over batches of μ and of 1/√(σ² + ε), each taken over some dimensions of a batch, which stay as 1."""
    means = [batch.mean(over, keepdim=True) for batch in batches]
    squares = [(batch - mean).square().mean(over, keepdim=True) for batch, mean in zip(batches, means, strict=True)]
    return torch.stack(means).mean(0), torch.stack([(square + eps) ** -0.5 for square in squares]).mean(0)


def normalised(rate: Tensor, mean: Tensor, inverse: Tensor, over: list[int]) -> Tensor:
    """(r − μ)/σ with μ and 1/σ given, whose derivative is that of a norm: ∂μ/∂r = 1/N and ∂σ²/∂r = 2·(r − μ)/N."""
    variance = with_value((rate - mean).square().mean(over, keepdim=True), inverse**-2)
    return (rate - with_value(rate.mean(over, keepdim=True), mean)) * variance**-0.5


def scaled_and_shifted(values: Tensor, weight: Tensor | None, bias: Tensor | None, behind: int) -> Tensor:
    """γ·x + β; `behind` is the number of dimensions of x after those of γ and β."""
    shape = (..., *[None] * behind)
    values = values if weight is None else values * weight[shape]
    return values if bias is None else values + bias[shape]


@singledispatch
def mean_derivative(operation: Nonlinear, *inputs: RateReference) -> Tensor:
    """A tensor [B, …] with the gradient of mean_t f(x_t) with respect to the means r of its inputs.

    For maxima and products it is that of f(r): it goes to the largest rates, and to each factor with the other's mean.
    """
    return operation(*(x.rate() for x in inputs))


@mean_derivative.register(Pointwise)
@mean_derivative.register(LogSoftmax)
def _(operation: Nonlinear, x: RateReference) -> Tensor:
    """mean_t ∂f/∂x_t, with nothing left out."""
    change = added_at_every_step(x.rate())
    return torch.stack([operation(x_t + change) for x_t in x.steps()]).mean(0)


@mean_derivative.register
def _(operation: Softmax, x: RateReference) -> Tensor:
    """p ⊙ (x − ⟨p, x⟩), softmax's derivative with p = mean_t p_t; it is symmetric."""
    p, change = torch.stack([operation(x_t) for x_t in x.steps()]).mean(0), added_at_every_step(x.rate())
    return p * (change - (p * change).sum(operation.dim, keepdim=True))


@mean_derivative.register
def _(operation: Normalize, x: RateReference) -> Tensor:
    """(x − y·⟨y, x⟩)/‖x‖ with y = mean_t y_t and mean_t 1/‖x_t‖; symmetric, too."""
    y = torch.stack([operation(x_t) for x_t in x.steps()]).mean(0)
    lengths = [torch.linalg.vector_norm(x_t, dim=operation.dim, keepdim=True) for x_t in x.steps()]
    inverse = torch.stack([1 / length.clamp_min(operation.eps) for length in lengths]).mean(0)
    return inverse * (x.rate() - y * (y * x.rate()).sum(operation.dim, keepdim=True))


@mean_derivative.register
def _(operation: GroupNorm, x: RateReference) -> Tensor:
    def grouped(values: Tensor) -> Tensor:
        return values.reshape(len(values), operation.groups, -1)

    moments = mean_moments([grouped(x_t) for x_t in x.steps()], [-1], operation.eps)
    normed = normalised(grouped(x.rate()), *moments, [-1]).reshape(x.shape)
    return scaled_and_shifted(normed, operation.weight, operation.bias, x.ndim - 2)


@mean_derivative.register
def _(operation: LayerNorm, x: RateReference) -> Tensor:
    over = list(range(-len(operation.shape), 0))
    normed = normalised(x.rate(), *mean_moments(list(x.steps()), over, operation.eps), over)
    return scaled_and_shifted(normed, operation.weight, operation.bias, 0)


@mean_derivative.register
def _(operation: RMSNorm, x: RateReference) -> Tensor:
    """As a norm whose μ is 0, in float32 at least."""
    over, rate = list(range(-len(operation.shape), 0)), full(x.rate())
    eps = torch.finfo(rate.dtype).eps if operation.eps is None else operation.eps
    inverses = [(full(x_t).square().mean(over, keepdim=True) + eps) ** -0.5 for x_t in x.steps()]
    square = with_value(rate.square().mean(over, keepdim=True), torch.stack(inverses).mean(0) ** -2)
    return scaled_and_shifted(rate * square**-0.5, operation.weight, None, 0).to(x.dtype)
