"""What flows through a network instead of a tensor: a sequence, or a sequence with the graph of its time mean.

A carrier looks to a module like the batch [B, …] of one timestep and answers torch's functions through
`__torch_function__`, so that unmodified `torch.nn` modules work on it and models know neither T nor the method.
What each operation does to a carrier stands in one table, `spiking/rules.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.spiking import lif, rules
from rbp_engine.spiking.gradients import BatchNormRate, ConvolutionRate, LinearRate, NeuronRate, WithValue
from rbp_engine.spiking.rules import UnsupportedOperation

if TYPE_CHECKING:
    from rbp_engine.spiking.neuron import LIF


class Carrier:
    """T timesteps of a batch, shaped [B, …] as far as a module can see.

    Subclasses say what the kinds of operation in `spiking/rules.py` do to them.
    """

    timesteps: int

    @property
    def batch(self) -> Tensor:
        """A tensor of the shape, type and device that a module sees, [B, …]."""
        raise NotImplementedError

    def fire(self, neuron: LIF) -> Self:
        """The spikes of a neuron layer that receives this carrier as its input current."""
        raise NotImplementedError

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Apply a function to each timestep, as one batch [T·B, …]; it must keep the batch dimension first."""
        raise NotImplementedError

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        """Apply a broadcasting function of carriers, tensors without time [B, …] and numbers."""
        raise NotImplementedError

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        """Apply a convolution or a linear layer."""
        return cls.per_step(function, args, kwargs)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Apply a max pooling."""
        return cls.per_step(function, args, kwargs)

    @classmethod
    def batch_norm(
        cls,
        x: Self,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Self:
        """`torch.nn.functional.batch_norm` with statistics over all timesteps, [T·B, C, …]."""
        raise NotImplementedError

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        carriers = list(_carriers((args, tuple((kwargs or {}).values()))))
        if len({type(carrier) for carrier in carriers}) > 1:
            raise UnsupportedOperation(function.__name__, "its arguments are carriers of different kinds")
        return rules.apply(carriers[0], function, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not callable(getattr(Tensor, name, None)):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return lambda *args, **kwargs: rules.apply(self, getattr(Tensor, name), (self, *args), kwargs)

    @property
    def shape(self) -> torch.Size:
        return self.batch.shape

    @property
    def ndim(self) -> int:
        return self.batch.ndim

    @property
    def dtype(self) -> torch.dtype:
        return self.batch.dtype

    @property
    def device(self) -> torch.device:
        return self.batch.device

    @property
    def is_cuda(self) -> bool:
        return self.batch.is_cuda

    def dim(self) -> int:
        return self.batch.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return self.shape[0]

    def __add__(self, other: Any) -> Any:
        return rules.apply(self, operator.add, (self, other), {})

    def __radd__(self, other: Any) -> Any:
        return rules.apply(self, operator.add, (other, self), {})

    def __sub__(self, other: Any) -> Any:
        return rules.apply(self, operator.sub, (self, other), {})

    def __rsub__(self, other: Any) -> Any:
        return rules.apply(self, operator.sub, (other, self), {})

    def __mul__(self, other: Any) -> Any:
        return rules.apply(self, operator.mul, (self, other), {})

    def __rmul__(self, other: Any) -> Any:
        return rules.apply(self, operator.mul, (other, self), {})

    def __truediv__(self, other: Any) -> Any:
        return rules.apply(self, operator.truediv, (self, other), {})

    def __neg__(self) -> Any:
        return rules.apply(self, operator.neg, (self,), {})


class SequenceTensor(Carrier):
    """A sequence [T, B, …] with its graph: multi-step BPTT, and evaluation.

    A sequence that is the same at every step (a static image before the first neuron) is kept once, as [B, …], and
    whatever comes before the first neuron costs one timestep instead of T.
    """

    def __init__(self, values: Tensor, timesteps: int, static: bool = False) -> None:
        self.values = values
        self.timesteps = timesteps
        self.static = static

    @property
    def batch(self) -> Tensor:
        return self.values if self.static else self.values[0]

    def steps(self) -> Tensor:
        """[T, B, …]; a static sequence is expanded without a copy."""
        return self.values.expand(self.timesteps, *self.values.shape) if self.static else self.values

    def time_mean(self) -> Tensor:
        """[B, …]."""
        return self.values if self.static else self.values.mean(0)

    def fire(self, neuron: LIF) -> SequenceTensor:
        current = self.steps()
        if torch.is_grad_enabled() and current.requires_grad:
            return SequenceTensor(lif.sequence(current, **neuron.settings), self.timesteps)
        spikes = lif.spikes_only(current, decay=neuron.decay, threshold=neuron.threshold, v_reset=neuron.v_reset)
        return SequenceTensor(spikes, self.timesteps)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        carriers = list(_carriers(args))
        timesteps, static = _timesteps(carriers), all(carrier.static for carrier in carriers)
        if static:
            return cls(function(*_replace(args, lambda x: x.values), **kwargs), timesteps, static=True)
        out = function(*_replace(args, lambda x: x.steps().flatten(0, 1)), **kwargs)
        return cls(out.unflatten(0, (timesteps, -1)), timesteps)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        carriers = list(_carriers(args))
        # [B, …] broadcasts against [T, B, …] as it stands.
        out = function(*_replace(args, lambda x: x.values), **kwargs)
        return cls(out, _timesteps(carriers), static=all(carrier.static for carrier in carriers))

    @classmethod
    def batch_norm(
        cls,
        x: Self,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Self:
        if x.static and training:
            args = (running_mean, running_var, weight, bias, momentum, eps)
            return cls(_static_batch_norm(x.values, x.timesteps, *args), x.timesteps, static=True)
        args = (x, running_mean, running_var, weight, bias, training, momentum, eps)  # type: ignore[assignment]
        return cls.per_step(F.batch_norm, args, {})


class RateTensor(Carrier):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] which carries the graph (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean: `sequence` then holds the values of `rate`.
    """

    def __init__(self, sequence: SequenceTensor, rate: Tensor) -> None:
        self.sequence = sequence
        self.rate = rate
        self.timesteps = sequence.timesteps

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] that are the same at every step."""
        return cls(SequenceTensor(values.detach(), timesteps, static=True), values)

    @property
    def batch(self) -> Tensor:
        return self.rate

    def fire(self, neuron: LIF) -> RateTensor:
        spikes, rate, eligibility = lif.rate(self.sequence.steps(), **neuron.settings)
        mean = NeuronRate.apply(self.rate, rate, eligibility)
        return RateTensor(SequenceTensor(spikes, self.timesteps), mean)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        rate = function(*_replace(args, lambda x: x.rate), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(_carriers(args)))
        return cls(_on_sequence(SequenceTensor.per_step, function, args, kwargs), rate)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        if function.__name__ in ("mul", "div", "truediv") and not _is_scaling(function.__name__, args):
            raise UnsupportedOperation(function.__name__, "the mean of a product is not the product of the means")
        rate = function(*_replace(args, lambda x: x.rate), **kwargs)
        if _all_static(args):
            return cls.static(rate, _timesteps(_carriers(args)))
        with torch.no_grad():
            return cls(SequenceTensor.elementwise(function, _replace(args, lambda x: x.sequence), **kwargs), rate)

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        sequence = _on_sequence(SequenceTensor.per_step, function, args, kwargs)
        rate = _weighted_rate(function.__name__, args, kwargs, sequence.time_mean())
        return cls(sequence, rate)

    @classmethod
    def max_pool(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        if _all_static(args):
            return cls.per_step(function, args, kwargs)
        sequence = _on_sequence(SequenceTensor.per_step, function, args, kwargs)
        routed = function(*_replace(args, lambda x: x.rate), **kwargs)
        return cls(sequence, WithValue.apply(routed, sequence.time_mean()))

    @classmethod
    def batch_norm(
        cls,
        x: Self,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Self:
        if not training:
            return cls.per_step(F.batch_norm, (x, running_mean, running_var, weight, bias, False, momentum, eps), {})
        if x.sequence.static:
            rate = _static_batch_norm(x.rate, x.timesteps, running_mean, running_var, weight, bias, momentum, eps)
            return cls.static(rate, x.timesteps)
        with torch.no_grad():
            out, mean, inverse_deviation = torch.native_batch_norm(
                x.sequence.values.flatten(0, 1), weight, bias, running_mean, running_var, True, momentum, eps
            )
        sequence = SequenceTensor(out.unflatten(0, (x.timesteps, -1)), x.timesteps)
        return cls(sequence, BatchNormRate.apply(x.rate, weight, bias, mean, inverse_deviation))


def _carriers(args: Iterable[Any]) -> Iterable[Any]:
    """The carriers among arguments, tuples and lists included."""
    for arg in args:
        if isinstance(arg, Carrier):
            yield arg
        elif isinstance(arg, (tuple, list)):
            yield from _carriers(arg)


def _replace(args: tuple[Any, ...], by: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple(by(arg) if isinstance(arg, Carrier) else arg for arg in args)


def _timesteps(carriers: Iterable[Carrier]) -> int:
    lengths = {carrier.timesteps for carrier in carriers}
    if len(lengths) > 1:
        raise ValueError(f"sequences of different length meet: T = {sorted(lengths)}")
    return lengths.pop()


def _all_static(args: tuple[Any, ...]) -> bool:
    return all(carrier.sequence.static for carrier in _carriers(args))


def _on_sequence(kind: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return kind(function, _replace(args, lambda x: x.sequence), kwargs)


def _is_scaling(operation: str, args: tuple[Any, ...]) -> bool:
    left, right = args[:2]
    return not isinstance(right, Carrier) or (operation == "mul" and not isinstance(left, Carrier))


def _weighted_rate(operation: str, args: tuple[Any, ...], kwargs: dict[str, Any], mean_output: Tensor) -> Any:
    if operation == "linear":
        return _linear_rate(mean_output, *args, **kwargs)
    return _convolution_rate(operation, mean_output, *args, **kwargs)


def _linear_rate(mean_output: Tensor, x: RateTensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return LinearRate.apply(x.rate, weight, bias, mean_output)


def _convolution_rate(
    operation: str,
    mean_output: Tensor,
    x: RateTensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    dims = weight.ndim - 2
    stride, dilation = _per_dim(stride, dims), _per_dim(dilation, dims)
    if padding == "valid":
        padding = 0
    if padding == "same":
        reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
        if any(length % 2 for length in reach):
            raise UnsupportedOperation(operation, "padding='same' with an even kernel; give the padding in numbers")
        padding = [length // 2 for length in reach]
    geometry = (stride, _per_dim(padding, dims), dilation)
    return ConvolutionRate.apply(x.rate, weight, bias, mean_output, geometry, groups)


def _per_dim(value: int | Sequence[int], dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def _static_batch_norm(
    values: Tensor,
    timesteps: int,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Batch norm of values [B, C, …] that stand for T equal steps.

    Mean and biased variance are those of the T·B batch. The running variance is the unbiased one, n/(n − 1), and is
    corrected to the count n of all T steps.
    """
    # Batch norm keeps its running variance for the backward, so the correction goes to the module's, not to that one.
    updated = None if running_var is None else running_var.clone()
    out = F.batch_norm(values, running_mean, updated, weight, bias, True, momentum, eps)
    if running_var is not None and updated is not None:
        count = values.numel() // values.shape[1]
        unbiased = (timesteps * count / (timesteps * count - 1)) / (count / (count - 1))
        kept = running_var * (1.0 - momentum)
        running_var.copy_(kept + (updated - kept) * unbiased)
    return out
