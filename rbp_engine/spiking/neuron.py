"""The LIF neuron: as a module, for every carrier, and for plain tensors step by step; and a layer as carriers fire it.

`LIFNeurons` is the layer: its parameters, and the loops over time, eager or compiled. Both kernels run the functions of
`spiking/layers/loops.py`; they differ in how a layer's tensors are laid out for them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.carrier import Carrier, NeuronModule
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.dtypes import count_dtype, full, membrane_dtype
from rbp_engine.spiking.layers import compiler, loops
from rbp_engine.spiking.layers.compiler import Kernel, KernelChoice
from rbp_engine.spiking.layers.layout import FlatLayout, constant
from rbp_engine.spiking.layers.loops import Layout, Neuron, charge_
from rbp_engine.spiking.neuron_protocol import Membrane, ObservedStep, RatePass
from rbp_engine.spiking.surrogate import Surrogate, create_surrogate, slope_function
from rbp_engine.vocabulary import LearntName

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"

LearnBy = Literal["layer", "channel"]


class LIF(NeuronModule):
    """Leaky integrate-and-fire neuron with the paper's defaults (section 3.1; `spiking/layers/loops.py`).

    Given a `Carrier` it runs all timesteps from rest and keeps no state. Given a plain tensor it is an ordinary
    SpikingJelly neuron: step mode "s" takes [B, …] and keeps the membrane in `v` until `reset()`, "m" takes [T, B, …].
    So SpikingJelly's own networks accept it: `sew_resnet18(spiking_neuron=LIF, cnf="ADD")`.

    Arguments:
        decay: λ in [0, 1]; 0 forgets at once, 1 is the integrate-and-fire neuron.
        threshold: V_th > 0.
        reset: "soft" subtracts the threshold, "hard" returns to `v_reset`.
        v_reset: resting potential of the hard reset.
        detach_reset: whether the gradient ignores the reset.
        surrogate, surrogate_args: the slope of the spike, by SpikingJelly's name in snake case, or of your own
            (`create_surrogate`).
        kernel: "eager", or "compiled" by torch.compile where that works; for carriers. "auto" becomes one of them at
            the first carrier: "compiled", or "eager" with a warning if torch.compile does not work for its device.
        learn: which of "decay" and "threshold" are learnt, starting from the values above. λ = sigmoid(w) of the
            parameter `decay_logit`, so 0 < λ < 1, and V_th = exp(w) of the parameter `log_threshold`.
        learn_by: one λ and V_th for the layer, or for each channel, dimension 1 of the input; the parameters then get
            their shape [C] from the first input or from a state dict, like those of torch's lazy modules.
    """

    decay_logit: nn.Parameter | None
    log_threshold: nn.Parameter | None

    def __init__(
        self,
        decay: float = 0.2,
        threshold: float = 1.0,
        reset: Literal["soft", "hard"] = "soft",
        v_reset: float = 0.0,
        detach_reset: bool = True,
        surrogate: str | Callable[..., Any] = "sigmoid",
        surrogate_args: dict[str, float] | None = None,
        kernel: KernelChoice = "eager",
        learn: Sequence[LearntName] = (),
        learn_by: LearnBy = "layer",
    ) -> None:
        super().__init__()
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay is a factor between 0 and 1, got {decay}")
        if not threshold > 0.0:
            raise ValueError(f"threshold must be above 0, got {threshold}")
        if reset not in ("soft", "hard"):
            raise ValueError(f"reset is 'soft' or 'hard', got {reset!r}")
        if reset == "soft" and v_reset != 0.0:
            raise ValueError(f"v_reset = {v_reset} belongs to the hard reset; the soft reset subtracts the threshold")
        if kernel not in get_args(KernelChoice):
            raise ValueError(f"kernel is 'eager', 'compiled' or 'auto', got {kernel!r}")
        _check_learnt(learn, learn_by, decay)
        self._decay, self._threshold = float(decay), float(threshold)
        by_channel = learn_by == "channel"
        self.decay_logit = _learnt(_logit(decay), by_channel) if "decay" in learn else None
        self.log_threshold = _learnt(math.log(threshold), by_channel) if "threshold" in learn else None
        self.v_reset = float(v_reset) if reset == "hard" else None
        self.detach_reset = detach_reset
        self.surrogate = create_surrogate(surrogate, surrogate_args)
        self.kernel: KernelChoice = kernel

    @property
    def decay(self) -> float | Tensor:
        """λ; if it is learnt, a tensor with its graph, [] or by channel [C], in float32 at least."""
        return self._decay if self.decay_logit is None else torch.sigmoid(full(self.decay_logit))

    @property
    def threshold(self) -> float | Tensor:
        """V_th, likewise."""
        return self._threshold if self.log_threshold is None else torch.exp(full(self.log_threshold))

    @property
    def neurons(self) -> LIFNeurons:
        """The layer as carriers fire it, read from the attributes of the module."""
        kernel: Kernel = "eager" if self.kernel == "auto" else self.kernel
        return LIFNeurons(self.decay, self.threshold, self.v_reset, self.detach_reset, self.surrogate, kernel)

    def neurons_for(self, current: Carrier | Tensor) -> LIFNeurons:
        """The layer for an input [B, C, …]. Parameters by channel get their shape from it.

        With the first carrier the kernel "auto" becomes the one that works on its device. Raises ValueError for an
        input with another number of channels than the first one.
        """
        if self.kernel == "auto" and isinstance(current, Carrier):
            self.kernel, problem = compiler.choose("auto", current.like.device.type)
            if problem:
                warnings.warn(problem, stacklevel=3)
        channels = current.shape[1:2]
        for parameter in (self.decay_logit, self.log_threshold):
            self._give_shape(parameter, channels)
            if parameter is not None and parameter.ndim and parameter.shape != channels:
                raise ValueError(
                    f"the neurons learn for {len(parameter)} channels, and get the input {list(current.shape)}: make a "
                    'neuron layer for each place, or learn_by="layer"'
                )
        return self.neurons.over(current.ndim)

    def _give_shape(self, parameter: nn.Parameter | None, shape: torch.Size) -> None:
        if isinstance(parameter, nn.UninitializedParameter):
            start = _logit(self._decay) if self.decay_logit is parameter else math.log(self._threshold)
            with torch.no_grad():
                parameter.materialize(shape)
                parameter.fill_(start)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name in ("decay_logit", "log_threshold"):
            parameter, given = getattr(self, name), state_dict.get(prefix + name)
            if given is not None:
                self._give_shape(parameter, given.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        reset = "soft" if self.v_reset is None else f"hard to {self.v_reset}"
        learnt = [name for name, w in (("decay", self.decay_logit), ("threshold", self.log_threshold)) if w is not None]
        text = f"decay={self._decay}, threshold={self._threshold}, reset={reset}, detach_reset={self.detach_reset}"
        return f"{text}, learns {' and '.join(learnt)} from there" if learnt else text


class PLIF(LIF):
    """LIF whose λ is learnt (Fang et al., ICCV 2021: parametric LIF), and V_th with `learn=("decay", "threshold")`."""

    def __init__(self, decay: float = 0.2, *, learn: Sequence[LearntName] = ("decay",), **settings: Any) -> None:
        super().__init__(decay, learn=learn, **settings)


class IF(LIF):
    """Integrate-and-fire neuron: LIF with λ = 1."""

    def __init__(self, threshold: float = 1.0, **settings: Any) -> None:
        super().__init__(1.0, threshold, **settings)


def _check_learnt(learn: Sequence[str], learn_by: str, decay: float) -> None:
    if isinstance(learn, str) or not {*learn} <= {*get_args(LearntName)}:
        raise ValueError(f"learn has some of 'decay' and 'threshold', got {learn!r}")
    if "decay" in learn and not 0.0 < decay < 1.0:
        raise ValueError(f"a decay that is learnt stays between 0 and 1, and must start there, got {decay}")
    if learn_by not in ("layer", "channel"):
        raise ValueError(f"learn_by is 'layer' or 'channel', got {learn_by!r}")


def _learnt(start: float, by_channel: bool) -> Any:
    return nn.UninitializedParameter() if by_channel else nn.Parameter(torch.tensor(start))


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


@dataclass(frozen=True)
class LIFNeurons:
    """A layer of leaky integrate-and-fire neurons (`spiking/neuron_protocol.py`: `Neurons`).

    `decay` is λ and `threshold` V_th: numbers, or tensors with their graph where they are learnt, [] for the layer or
    by channel. `v_reset` is the resting potential of the hard reset, and None for the soft reset. With `detach_reset`
    the gradient ignores the reset. `kernel` says whether the loops are compiled.
    """

    decay: float | Tensor
    threshold: float | Tensor
    v_reset: float | None
    detach_reset: bool
    surrogate: Surrogate
    kernel: Kernel = "eager"

    @property
    def learns(self) -> tuple[bool, bool]:
        """Whether λ and V_th are learnt."""
        return isinstance(self.decay, Tensor), isinstance(self.threshold, Tensor)

    @property
    def learnt(self) -> tuple[Tensor, ...]:
        """The learnt ones of λ and V_th, in this order."""
        return tuple(value for value in (self.decay, self.threshold) if isinstance(value, Tensor))

    def over(self, ndim: int) -> LIFNeurons:
        """The same for inputs [B, C, …] with `ndim` dimensions: parameters by channel, [C], become [C, 1, …]."""
        return replace(self, decay=_over(self.decay, ndim), threshold=_over(self.threshold, ndim))

    def at_rest(self, current: Tensor) -> Tensor:
        return torch.full_like(current.detach(), self.v_reset or 0.0, dtype=membrane_dtype(current.dtype))

    def timestep(self, membrane: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes s_t and the membrane v_t after the reset, from v_{t−1} and I_t, [B, …] each, with their graph."""
        rest = self.v_reset or 0.0
        charged = rest + self.decay * (membrane - rest) + current if rest else self.decay * membrane + current
        spikes = self.surrogate(charged - self.threshold)
        by = spikes.detach() if self.detach_reset else spikes
        if self.v_reset is None:
            return spikes, charged - self.threshold * by
        return spikes, (1.0 - by) * charged + by * self.v_reset

    @torch.no_grad()
    def spikes_only(self, current: Current) -> Tensor:
        layout = self._layout(current)
        spikes = layout.empty_steps(current.like, current.length)
        self._run(loops.spikes_only)(layout.reader(current), self._neuron(layout, "threshold"), spikes.unbind(0))
        return layout.back(spikes)

    @torch.no_grad()
    def rate(self, current: Current) -> RatePass:
        layout, batch = self._layout(current), current.like
        to_sum = [n for n, term in enumerate(current.terms) if term.normalisation and not term.steps.mean_is_known]
        spikes = layout.empty_steps(batch, current.length, torch.uint8)
        given = (layout.reader(current), self._neuron(layout, "threshold"), layout.for_each_channel(current.length))
        if self.kernel == "compiled":
            # In one block, because they are freed together: on a CPU the gap that one tensor leaves is some bytes too
            # small to align another of its size, and the gap of two is not. ResNet-18 at T = 8 and B = 32 needs 0.93 of
            # the memory.
            saved = layout.empty_steps(batch, 1 + len(self.learnt) + len(to_sum)).unbind(0)
            counts = self._run(loops.rate_into)(*given, tuple(to_sum), spikes.unbind(0), saved)
        else:
            none = torch.zeros_like(spikes[0], dtype=count_dtype(current.length))
            counts, totals = loops.rate(*given, tuple(to_sum), spikes.unbind(0), none)
            saved = tuple(total.to(batch.dtype) for total in totals)
        batches = list(map(layout.back, saved))
        derivatives, summed = batches[: 1 + len(self.learnt)], iter(batches[1 + len(self.learnt) :])
        normalised = [term.steps for term in current.terms if term.normalisation]
        means = [steps.time_mean() if steps.mean_is_known else next(summed) for steps in normalised]
        return RatePass(layout.back(spikes), layout.back(counts), derivatives, means)

    def rate_loop(self, like: Current, timesteps: int) -> LIFRateLoop:
        return LIFRateLoop(like, timesteps, self)

    @torch.no_grad()
    def gradient_through_time(self, current: Current, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        layout = self._layout(current)
        out = layout.empty_steps(current.like, current.length, grad.dtype)
        neuron = self._neuron(layout, "decay", "threshold")
        inputs, at_spikes = layout.reader(current), layout.flat(grad).unbind(0)
        learnt = self._run(loops.gradient_through_time)(inputs, neuron, at_spikes, out.unbind(0))
        return layout.back(out), self._summed(list(map(layout.back, learnt)))

    def once(
        self, current: Sequence[Tensor], before: Membrane | None, *, through_time: bool, traced: bool
    ) -> tuple[Tensor, Membrane]:
        """The state is the charged membrane u_t [B, …]. Its backward receives ∂L/∂u_{t+1} in place of ∂L/∂u_t."""
        charged, trace = before or (None, None)
        spikes, charged, trace = FireOnce.apply(charged, trace, self, through_time, *self.learnt, *current)
        if traced and trace is None:
            trace = spikes.detach()
        return spikes, Membrane(charged, trace)

    def _run(self, loop: Callable[..., Any]) -> Callable[..., Any]:
        return compiler.jit(loop) if self.kernel == "compiled" else loop

    def _layout(self, current: Current) -> Layout:
        return FlatLayout(current, self.learnt) if self.kernel == "compiled" else Layout(current.like)

    def _neuron(self, layout: Layout, *by_channel: str) -> Neuron:
        """The neurons for a layout; the numbers named in `by_channel` are given for each channel."""

        def number(name: str) -> Tensor | float:
            return (layout.for_each_channel if name in by_channel else layout.number)(getattr(self, name))

        slope = slope_function(self.surrogate)
        numbers = number("decay"), number("threshold")
        return Neuron(*numbers, self.v_reset, self.detach_reset, self.learns, *slope, layout.dtype)

    def _summed(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The gradients [B, …] of what is learnt, each summed to its shape and in its type; 0 for None."""
        return [
            torch.zeros_like(value) if each is None else each.sum_to_size(value.shape).to(value.dtype)
            for each, value in zip(gradients, self.learnt, strict=True)
        ]


def _over(value: float | Tensor, ndim: int) -> float | Tensor:
    return value.view(-1, *[1] * (ndim - 2)) if isinstance(value, Tensor) and value.ndim else value


def _back(layout: Layout, values: Any) -> Any:
    """[F] as [B, …], with the strides of torch's own operations, which decide the order in which batch norm adds up.

    With one pixel or one channel it is contiguous in both formats; torch takes it as channels first. None stays None.
    """
    if values is None:
        return None
    batch = layout.back(values)
    return batch.view(-1).view(batch.shape) if batch.is_contiguous() else batch


class LIFRateLoop:
    """The loop of the rate methods, step by step (`loops.fire_rate`); its state is [F]."""

    def __init__(self, like: Current, timesteps: int, neurons: LIFNeurons) -> None:
        self._timesteps, self._dtype, self._run = timesteps, like.like.dtype, neurons._run(loops.rate_step)
        self._layout = neurons._layout(like)
        self._neuron = neuron = neurons._neuron(self._layout)
        flat = self._layout.flat(like.like)
        self._membrane = torch.full_like(flat, neuron.v_reset or 0.0, dtype=neuron.dtype)
        self._counts = torch.zeros_like(flat, dtype=count_dtype(timesteps))
        self._state, self._rho = loops.state_before(flat, neuron), loops.rho_before(flat, neuron)

    @torch.no_grad()
    def step(self, current: Current) -> Tensor:
        # A Python number would compile a kernel for every timestep. Kernels on a GPU accept a scalar on the CPU.
        rho = self._rho if isinstance(self._rho, Tensor) else constant(self._rho, (), torch.float64)
        state = self._membrane, self._counts, self._state.eligibility, rho, *self._state.sensitivities
        spikes = self._run(self._layout.reader(current), self._neuron, *state)
        self._rho = loops.advanced(self._rho, self._neuron)
        return self._layout.back(spikes)

    @torch.no_grad()
    def observed(self, current: Tensor) -> ObservedStep:
        charge_(self._membrane, self._layout.flat(current), self._neuron)
        distance = self._membrane - self._neuron.threshold
        spikes, eligibility = loops.fire_rate(self._membrane, self._state, self._rho, self._neuron)
        self._counts.add_(spikes.to(self._counts.dtype))
        self._rho = loops.advanced(self._rho, self._neuron)
        return ObservedStep(*map(self._layout.back, (spikes, distance, eligibility)))

    def finish(self) -> tuple[Tensor, list[Tensor]]:
        totals = [self._state.eligibility, *self._state.sensitivities[1::2]]
        means = [total.div_(self._timesteps).to(self._dtype) for total in totals]
        return _back(self._layout, self._counts), [_back(self._layout, mean) for mean in means]


class FireOnce(torch.autograd.Function):
    """Spikes, charged membrane and trace of one timestep, as one operation forward and one backward.

    Autograd would launch an operation for each product and sum, and keep the distance to the threshold for the slope.
    Gradients go to the current, to the charged membrane before, and to what the neurons learn.
    """

    @staticmethod
    def forward(
        ctx: Any,
        before: Tensor | None,
        trace: Tensor | None,
        neurons: LIFNeurons,
        through_time: bool,
        *learnt_and_current: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        current = learnt_and_current[len(neurons.learnt) :]
        layout = neurons._layout(Current.of(current[0].unsqueeze(0)))
        neuron = neurons._neuron(layout, "decay", "threshold")
        flat = (None if tensor is None else layout.flat(tensor) for tensor in (before, trace))
        outputs = neurons._run(loops.fire_once)(tuple(map(layout.flat, current)), *flat, neuron)
        spikes, charged, trace = (_back(layout, each) for each in outputs)
        learns_decay, _ = neurons.learns
        ctx.save_for_backward(charged, before if learns_decay else None)
        ctx.neurons, ctx.through_time = neurons, through_time
        ctx.terms, ctx.dtype = len(current), spikes.dtype
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*([] if through_time else [charged]), *([] if trace is None else [trace]))
        return spikes, charged, trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_later: Tensor | None, _: None) -> Any:
        charged, before = ctx.saved_tensors
        neurons, layout = ctx.neurons, ctx.neurons._layout(Current.of(charged.unsqueeze(0)))
        if grad_spikes is None:
            grad_spikes = torch.zeros_like(charged, dtype=ctx.dtype)
        elif grad_spikes.stride() != charged.stride():
            # The layout in memory decides the order in which a batch norm adds up.
            grad_spikes = torch.empty_like(charged, dtype=grad_spikes.dtype).copy_(grad_spikes)
        flat = (None if each is None else layout.flat(each) for each in (grad_spikes, grad_later, charged, before))
        neuron = neurons._neuron(layout, "decay", "threshold")
        at_current, at_charged, *of_learnt = neurons._run(loops.gradient_once_later)(*flat, neuron, ctx.through_time)
        learnt = neurons._summed([None if each is None else layout.back(each) for each in of_learnt])
        at_before = _back(layout, at_charged) if ctx.needs_input_grad[0] else None
        return at_before, None, None, None, *learnt, *[_back(layout, at_current)] * ctx.terms
