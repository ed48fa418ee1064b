"""A layer of LIF neurons: its parameters, and the loops over time, eager or compiled.

Both kernels run the functions of `spiking/layers/loops.py`; they differ in how a layer's tensors are laid out for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.fusion import Current, ObservedStep, RatePass, count_dtype
from rbp_engine.spiking.layers import compiler, loops
from rbp_engine.spiking.layers.compiler import Kernel
from rbp_engine.spiking.layers.layout import FlatLayout, Layout
from rbp_engine.spiking.layers.loops import Neuron, charge_
from rbp_engine.spiking.surrogate import Surrogate, slope_function

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


@dataclass(frozen=True)
class LIFNeurons:
    """A layer of leaky integrate-and-fire neurons (`spiking/fusion.py`: `Neurons`).

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
        """Those of λ and V_th that are learnt, in this order."""
        return tuple(value for value in (self.decay, self.threshold) if isinstance(value, Tensor))

    def over(self, ndim: int) -> "LIFNeurons":
        """The same for inputs [B, C, …] of so many dimensions: what is learnt by channel, [C], becomes [C, 1, …]."""
        if not any(value.ndim for value in self.learnt):
            return self
        return replace(self, decay=_over(self.decay, ndim), threshold=_over(self.threshold, ndim))

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
    def spikes_only(self, current: Tensor | Current) -> Tensor:
        current = Current.of(current)
        layout = self._layout(current)
        spikes = layout.empty_steps(current.like, current.timesteps)
        self._run(loops.spikes_only)(layout.reader(current), self._neuron(layout, "threshold"), spikes.unbind(0))
        return layout.back(spikes)

    @torch.no_grad()
    def rate(self, current: Tensor | Current) -> RatePass:
        current = Current.of(current)
        layout, batch = self._layout(current), current.like
        to_sum = [n for n, term in enumerate(current.terms) if term.normalisation and not term.steps.mean_is_known]
        spikes = layout.empty_steps(batch, current.timesteps, torch.uint8)
        given = (layout.reader(current), self._neuron(layout, "threshold"), layout.for_each_channel(current.timesteps))
        if self.kernel == "compiled":
            # In one block, for what is freed together: on a CPU another tensor of that size fits into the gap of two
            # tensors, but not into the gap of one, which lacks bytes for its alignment. 0.93 of the memory (ResNet-18,
            # T = 8, B = 32).
            saved = layout.empty_steps(batch, 1 + len(self.learnt) + len(to_sum)).unbind(0)
            counts = self._run(loops.rate_into)(*given, tuple(to_sum), spikes.unbind(0), saved)
        else:
            none = torch.zeros_like(spikes[0], dtype=count_dtype(current.timesteps))
            counts, totals = loops.rate(*given, tuple(to_sum), spikes.unbind(0), none)
            saved = tuple(total.to(batch.dtype) for total in totals)
        found = list(map(layout.back, saved))
        derivatives, means = found[: 1 + len(self.learnt)], found[1 + len(self.learnt) :]
        summed = dict(zip(to_sum, means, strict=True))
        normalised = [(n, term.steps) for n, term in enumerate(current.terms) if term.normalisation]
        means = [summed[n] if n in summed else steps.time_mean() for n, steps in normalised]
        return RatePass(layout.back(spikes), layout.back(counts), derivatives, means)

    def rate_loop(self, like: Current, timesteps: int) -> "LIFRateLoop":
        return LIFRateLoop(like, timesteps, self)

    @torch.no_grad()
    def gradient_through_time(self, current: Tensor | Current, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        current = Current.of(current)
        layout = self._layout(current)
        out = layout.empty_steps(current.like, current.timesteps, grad.dtype)
        neuron = self._neuron(layout, "decay", "threshold")
        inputs, at_spikes = layout.reader(current), layout.flat(grad).unbind(0)
        learnt = self._run(loops.gradient_through_time)(inputs, neuron, at_spikes, out.unbind(0))
        return layout.back(out), self._summed(list(map(layout.back, learnt)))

    def once(
        self, current: Sequence[Tensor], before: "LIFMembrane | None", *, through_time: bool, traced: bool
    ) -> tuple[Tensor, "LIFMembrane", Tensor | None]:
        membrane, trace = before or (None, None)
        spikes, charged, trace = FireOnce.apply(membrane, trace, self, through_time, *self.learnt, *current)
        if traced and trace is None:
            trace = spikes.detach()
        return spikes, LIFMembrane(charged, trace), trace

    def _run(self, loop: Callable[..., Any]) -> Callable[..., Any]:
        return compiler.jit(loop) if self.kernel == "compiled" else loop

    def _layout(self, current: Current) -> Layout:
        return FlatLayout(current, self.learnt) if self.kernel == "compiled" else Layout(current.like)

    def _layout_of_step(self, batch: Tensor) -> Layout:
        return self._layout(Current.of(batch.unsqueeze(0)))

    def _neuron(self, layout: Layout, *by_channel: str) -> Neuron:
        """The neurons for a layout; the numbers that are named are given for each channel."""

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


def _plain(batch: Tensor) -> Tensor:
    """[B, …] with the strides of torch's own operations, by which batch norm chooses in which order it adds up.

    Of one pixel or one channel, which is contiguous both with channels first and last, torch takes it as the first.
    """
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
        state = self._membrane, self._counts, self._state.eligibility, self._layout.number_for_all(self._rho)
        spikes = self._run(self._layout.reader(current), self._neuron, *state, *self._state.sensitivities)
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
        counts, *derivatives = (_plain(self._layout.back(each)) for each in (self._counts, *means))
        return counts, derivatives


class LIFMembrane(NamedTuple):
    """What a layer carries from a timestep to the next: the charged membrane u_t, and OTTT's trace a_t, both [B, …].

    u_t is given back ∂L/∂u_{t+1}, and not its own gradient: only `LIFNeurons.once` may use it.
    """

    charged: Tensor
    trace: Tensor | None = None


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
        layout = neurons._layout_of_step(current[0])
        neuron = neurons._neuron(layout, "decay", "threshold")
        flat = (None if tensor is None else layout.flat(tensor) for tensor in (before, trace))
        outputs = neurons._run(loops.fire_once)(tuple(map(layout.flat, current)), *flat, neuron)
        spikes, charged, trace = (None if each is None else _plain(layout.back(each)) for each in outputs)
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
        neurons, layout = ctx.neurons, ctx.neurons._layout_of_step(charged)
        if grad_spikes is None:
            grad_spikes = torch.zeros_like(charged, dtype=ctx.dtype)
        elif grad_spikes.stride() != charged.stride():
            # The layout in memory decides in which order a batch norm adds up.
            grad_spikes = torch.empty_like(charged, dtype=grad_spikes.dtype).copy_(grad_spikes)
        flat = (None if each is None else layout.flat(each) for each in (grad_spikes, grad_later, charged, before))
        neuron = neurons._neuron(layout, "decay", "threshold")
        found = neurons._run(loops.gradient_once_later)(*flat, neuron, ctx.through_time)
        at_current, at_charged, *learnt = (None if each is None else layout.back(each) for each in found)
        at_before = _plain(at_charged) if ctx.needs_input_grad[0] else None
        return at_before, None, None, None, *neurons._summed(learnt), *[_plain(at_current)] * ctx.terms
