"""The loop over time of leaky integrate-and-fire neurons, without a graph; only `step` has one.

    u_t = λ·v_{t-1} + I_t            charge (with a resting potential: v_reset + λ·(v_{t-1} − v_reset) + I_t)
    s_t = H(u_t − V_th)              fire
    v_t = u_t − V_th·s_t             soft reset
    v_t = (1 − s_t)·u_t + s_t·v_reset    hard reset

The kernel "eager" runs the loops of this file, in place, "compiled" those of `kernels/unrolled.py`; the timestep of the
single-step methods, in `kernels/timestep.py`, is the same for both. On a CPU both give the same bits, with one
exception: where a layer's size does not fill the processor's vectors, an exponential in a slope may differ in its last
place, as it does within torch's own loops.

Currents are [T, B, …], or a `Current` whose batch norms and sums the loop carries out as it reads. Membranes and sums
are float32 at least; spikes and eligibility have the type of the currents. The rate methods keep spikes as bytes, and
the firing rate as their count, which is exact and takes one byte up to T = 255.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.kernels import compiled, timestep
from rbp_engine.spiking.kernels.neuron_input import Current, CurrentReader, count_dtype, membrane_dtype
from rbp_engine.spiking.kernels.steps import empty_steps
from rbp_engine.spiking.kernels.traces import Fired, advanced
from rbp_engine.spiking.lif_parameters import LIFParameters
from rbp_engine.spiking.surrogate import slope_in_place


def step(membrane: Tensor, current: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """One timestep with a graph: spikes s_t and the membrane v_t after the reset, both [B, …] like `current`."""
    decay, threshold, v_reset = parameters.decay, parameters.threshold, parameters.v_reset
    charged = decay * membrane + current if not v_reset else v_reset + decay * (membrane - v_reset) + current
    spikes = parameters.surrogate(charged - threshold)
    reset_by = spikes.detach() if parameters.detach_reset else spikes
    if v_reset is None:
        return spikes.to(current.dtype), charged - threshold * reset_by
    return spikes.to(current.dtype), (1.0 - reset_by) * charged + reset_by * v_reset


@torch.no_grad()
def fire(
    current: Sequence[Tensor], before: Tensor | None, trace: Tensor | None, parameters: LIFParameters
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One timestep of the single-step methods: see `timestep.fire`."""
    if parameters.kernel == "compiled":
        return compiled.fire(current, before, trace, parameters)
    return timestep.fire(current, before, trace, parameters.neuron(membrane_dtype(current[0].dtype)))


@torch.no_grad()
def gradient_of_timestep(
    grad_spikes: Tensor,
    grad_later: Tensor | None,
    charged: Tensor,
    before: Tensor | None,
    parameters: LIFParameters,
    through_time: bool,
) -> timestep.GradientOfTimestep:
    """Its gradient: see `timestep.gradient`; here those of what is learnt are summed to its shape."""
    if parameters.kernel == "compiled":
        found = compiled.gradient(grad_spikes, grad_later, charged, before, parameters, through_time)
    else:
        neuron = parameters.neuron(charged.dtype)
        if grad_spikes.stride() != charged.stride():
            # The layout in memory decides in which order a batch norm adds up, and the compiled kernel's is this one.
            grad_spikes = torch.empty_like(charged, dtype=grad_spikes.dtype).copy_(grad_spikes)
        found = timestep.gradient(grad_spikes, grad_later, charged, before, neuron, through_time)
    return found._replace(learnt=[*_summed(found.learnt, parameters)])


@torch.no_grad()
def spikes_only(current: Tensor | Current, parameters: LIFParameters) -> Tensor:
    """Spikes [T, B, …] for input currents [T, B, …], from rest, without a graph."""
    current = Current.of(current)
    if parameters.kernel == "compiled":
        return compiled.spikes_only(current, parameters)
    reader, membrane_BX = CurrentReader(current), at_rest(current.batch, parameters.v_reset)
    spikes_TBX = empty_steps(current.batch, current.timesteps)
    for t, spikes_t in enumerate(spikes_TBX):
        _charge(membrane_BX, reader.at(t), parameters)
        torch.ge(membrane_BX, parameters.threshold, out=spikes_t)
        _reset(membrane_BX, spikes_t, parameters)
    return spikes_TBX


class RatePass(NamedTuple):
    """What the rate methods keep of the loop over a layer."""

    spikes: Tensor
    """Bytes [T, B, …]."""
    counts: Tensor
    """The number of spikes, [B, …]."""
    eligibility: Tensor
    """g = mean_t(σ'_t·ρ_t), [B, …]."""
    means: list[Tensor]
    """The time means [B, …] of the terms that a batch norm is applied to, before it: its backward needs them."""
    by_learnt: list[Tensor]
    """∂r/∂λ and ∂r/∂V_th, those of them that are learnt, [B, …] each."""


@torch.no_grad()
def rate(current: Tensor | Current, parameters: LIFParameters) -> RatePass:
    """Spikes, counts and eligibility for input currents [T, B, …], from rest."""
    current = Current.of(current)
    to_sum = [n for n, term in enumerate(current.terms) if term.normalisation and not term.steps.mean_is_known]
    if parameters.kernel == "compiled":
        spikes, counts, eligibility, means, by_learnt = compiled.rate(current, tuple(to_sum), parameters)
    else:
        reader, loop = CurrentReader(current), RateLoop(current.batch, current.timesteps, parameters)
        spikes = empty_steps(loop.membrane, current.timesteps, torch.uint8)
        sums = [torch.zeros_like(loop.membrane) for _ in to_sum]
        for t, spikes_t in enumerate(spikes.unbind(0)):
            loop.step_into(spikes_t, reader.at(t))
            for number, total in zip(to_sum, sums, strict=True):
                total.add_(current.terms[number].steps.at(t))
        counts, eligibility = loop.finish()
        by_learnt = loop.by_learnt()
        means = [total.div_(current.timesteps).to(eligibility.dtype) for total in sums]
    summed = dict(zip(to_sum, means, strict=True))
    normalised = [(n, term.steps) for n, term in enumerate(current.terms) if term.normalisation]
    means = [summed[n] if n in summed else steps.time_mean() for n, steps in normalised]
    return RatePass(spikes, counts, eligibility, means, by_learnt)


class RateLoop:
    """The loop of the rate methods, step by step: spikes, and the means that the rate pass needs.

        ρ_1 = 1        ρ_{t+1} = 1 + ρ_t·∂u_{t+1}/∂u_t        g = mean_t(σ'_t·ρ_t)

    ρ is how far an input reaches in time: how much of the inputs so far is still in the membrane. The eligibility g
    multiplies the rate's gradient on its way to the mean input (paper, section 4). Where λ or V_th is learnt there are
    the traces of `kernels/traces.py` besides.
    """

    def __init__(self, current: Tensor, timesteps: int, parameters: LIFParameters) -> None:
        """`current` [B, …] gives shape, type and device; the loop starts at rest."""
        self._timesteps = timesteps
        self._parameters = parameters
        self._dtype = current.dtype
        self.membrane = membrane = at_rest(current, parameters.v_reset)
        self._counts = torch.zeros_like(membrane, dtype=count_dtype(timesteps))
        self._eligibility = torch.zeros_like(membrane)
        learns_decay, _ = parameters.learns
        # ρ is the same number for every neuron under the soft, detached reset: ∂u_{t+1}/∂u_t = λ.
        uniform = parameters.v_reset is None and parameters.detach_reset and not learns_decay
        self._rho: float | Tensor = 1.0 if uniform else torch.ones_like(membrane)
        self._traces = [torch.zeros_like(membrane) for _ in range(2 * len(parameters.learnt))]

    @torch.no_grad()
    def step(self, current: Current) -> Tensor:
        """Spikes [B, …] of the next timestep, for a `Current` of one timestep."""
        if self._parameters.kernel == "eager":
            return self.step_into(torch.empty_like(self.membrane, dtype=self._dtype), CurrentReader(current).at(0))
        state = self.membrane, self._counts, self._eligibility
        spikes = compiled.rate_step(current, state, self._rho, self._traces, self._parameters)
        self._advance()
        return spikes

    @torch.no_grad()
    def step_into(self, spikes: Tensor, current: Tensor) -> Tensor:
        """Spikes of the next timestep for a current [B, …], written into `spikes`; never compiled."""
        self.charge(current)
        return self.fire_into(spikes)

    @torch.no_grad()
    def charge(self, current: Tensor) -> None:
        """Charge the membrane with a current [B, …]; `fire_into` then completes the timestep."""
        _charge(self.membrane, current, self._parameters)

    @torch.no_grad()
    def fire_into(self, spikes: Tensor) -> Tensor:
        """Write the spikes of the charged membrane into `spikes` [B, …], and reset it."""
        membrane, parameters = self.membrane, self._parameters
        same = spikes.dtype == membrane.dtype
        fired = torch.ge(membrane, parameters.threshold, out=spikes if same else torch.empty_like(membrane))
        if not same:
            spikes.copy_(fired)
        slope_t = slope_in_place(parameters.surrogate, membrane - parameters.threshold)
        if isinstance(self._rho, float):
            self._eligibility.add_(slope_t * self._rho if self._traces else slope_t.mul_(self._rho))
        else:
            self._eligibility.add_(slope_t * self._rho)
            self._rho.mul_(_reset_jacobian(membrane, fired, slope_t, parameters)).mul_(parameters.decay).add_(1.0)
        self._counts.add_(spikes if spikes.dtype == self._counts.dtype else fired.to(self._counts.dtype))
        if self._traces:
            self._reset_with_traces(fired, slope_t)
        else:
            _reset(membrane, fired, parameters)
        self._advance()
        return spikes

    def _reset_with_traces(self, fired: Tensor, slope_t: Tensor) -> None:
        charged = self.membrane.clone()
        reset_jacobian = _reset_jacobian(charged, fired, slope_t, self._parameters)
        _reset(self.membrane, fired, self._parameters)
        now = Fired(charged, fired, slope_t, self.membrane, reset_jacobian)
        self._traces = advanced(self._traces, now, self._parameters)

    def finish(self) -> tuple[Tensor, Tensor]:
        """Counts of spikes and eligibility, both [B, …]; it overwrites the sums, so it is called once, at the end."""
        return self._counts, self._eligibility.div_(self._timesteps).to(self._dtype)

    def by_learnt(self) -> list[Tensor]:
        """∂r/∂λ and ∂r/∂V_th, those of them that are learnt, [B, …] each; at the end, as `finish`."""
        return [total.div_(self._timesteps).to(self._dtype) for total in self._traces[1::2]]

    def _advance(self) -> None:
        if isinstance(self._rho, float):
            self._rho = 1.0 + self._parameters.decay * self._rho


@torch.no_grad()
def eligibility_terms(current: Current, parameters: LIFParameters) -> Iterator[Tensor]:
    """The terms e_t = σ'_t·ρ_t [B, …] whose time mean is the eligibility g, t = 1 … T, from rest; never compiled.

    BPTT's ∂L/∂I_t add up over time to those of ∂L/∂s_t ⊙ e_t.
    """
    reader, membrane = CurrentReader(current), at_rest(current.batch, parameters.v_reset)
    rho = torch.ones_like(membrane)
    for t in range(current.timesteps):
        _charge(membrane, reader.at(t), parameters)
        fired = (membrane >= parameters.threshold).to(membrane.dtype)
        slope_t = slope_in_place(parameters.surrogate, membrane - parameters.threshold)
        yield slope_t * rho
        if parameters.v_reset is not None or not parameters.detach_reset:
            rho.mul_(_reset_jacobian(membrane, fired, slope_t, parameters))
        rho.mul_(parameters.decay).add_(1.0)
        _reset(membrane, fired, parameters)


class GradientThroughTime(NamedTuple):
    """What BPTT passes on from a layer."""

    current: Tensor
    """∂L/∂I [T, B, …]."""
    learnt: list[Tensor]
    """∂L/∂λ and ∂L/∂V_th, those of them that are learnt, in their shapes."""


@torch.no_grad()
def gradient_through_time(
    current: Tensor | Current, grad_TBX: Tensor, parameters: LIFParameters
) -> GradientThroughTime:
    """The gradients of BPTT for ∂L/∂s = `grad_TBX` [T, B, …]; the membranes are computed again from the currents.

        ∂L/∂u_t = ∂L/∂s_t·σ'_t + ∂L/∂v_t·(∂v_t/∂u_t + ∂v_t/∂s_t·σ'_t)        ∂L/∂v_{t−1} = λ·∂L/∂u_t = λ·∂L/∂I_t
        ∂L/∂λ = Σ_t ∂L/∂u_t·(v_{t−1} − v_rest)
        ∂L/∂V_th = −Σ_t (∂L/∂s_t + ∂L/∂v_t·∂v_t/∂s_t)·σ'_t      with the soft reset also  −Σ_t ∂L/∂v_t·s_t

    where the reset's ∂v_t/∂s_t counts only if it is not detached.
    """
    current = Current.of(current)
    if parameters.kernel == "compiled":
        at_current, found = compiled.gradient_through_time(current, grad_TBX, parameters)
        return GradientThroughTime(at_current, _summed(found, parameters))
    threshold, v_reset = parameters.threshold, parameters.v_reset
    reader, membrane_BX = CurrentReader(current), at_rest(current.batch, v_reset)
    charged_TBX = empty_steps(membrane_BX, current.timesteps)
    for t, charged_t in enumerate(charged_TBX):
        _charge(membrane_BX, reader.at(t), parameters)
        charged_t.copy_(membrane_BX)
        _reset(membrane_BX, (membrane_BX >= threshold).to(membrane_BX.dtype), parameters)
    grad_membrane_BX = torch.zeros_like(membrane_BX)
    by_decay_BX, by_threshold_BX = (torch.zeros_like(membrane_BX) if each else None for each in parameters.learns)
    charged = charged_TBX.unbind(0)
    for t, grad_t in reversed(list(enumerate(grad_TBX.unbind(0)))):
        charged_t = charged[t]
        slope_t = slope_in_place(parameters.surrogate, charged_t - threshold)
        grad_spikes_t = grad_t
        if not parameters.detach_reset:
            grad_spikes_t = grad_t + grad_membrane_BX * (-threshold if v_reset is None else v_reset - charged_t)
        by_spikes_t = slope_t.mul_(grad_spikes_t)
        if by_threshold_BX is not None:
            by_threshold_BX.sub_(by_spikes_t)
            if v_reset is None:
                by_threshold_BX.sub_(grad_membrane_BX * (charged_t >= threshold))
        if v_reset is not None:
            grad_membrane_BX.masked_fill_(charged_t >= threshold, 0.0)
        charged_t.copy_(grad_membrane_BX.add_(by_spikes_t))
        if by_decay_BX is not None and t > 0:
            by_decay_BX.add_(grad_membrane_BX * _from_rest(charged[t - 1].clone(), parameters))
        grad_membrane_BX.mul_(parameters.decay)
    found = [total for total in (by_decay_BX, by_threshold_BX) if total is not None]
    return GradientThroughTime(charged_TBX.to(grad_TBX.dtype), _summed(found, parameters))


def _summed(gradients: Sequence[Tensor | None], parameters: LIFParameters) -> list[Tensor]:
    """The gradients [B, …] of what is learnt, each summed to its shape and in its type; 0 for None."""
    return [
        torch.zeros_like(value) if each is None else each.sum_to_size(value.shape).to(value.dtype)
        for each, value in zip(gradients, parameters.learnt, strict=True)
    ]


def at_rest(current: Tensor, v_reset: float | None) -> Tensor:
    """A membrane [B, …] at its resting potential, for currents [B, …]."""
    return torch.full_like(current.detach(), v_reset or 0.0, dtype=membrane_dtype(current.dtype))


def _charge(membrane: Tensor, current: Tensor, parameters: LIFParameters) -> None:
    decay, v_reset = parameters.decay, parameters.v_reset
    if v_reset:
        membrane.sub_(v_reset).mul_(decay).add_(v_reset).add_(current)
    else:
        membrane.mul_(decay).add_(current)


def _reset(membrane: Tensor, spikes: Tensor, parameters: LIFParameters) -> None:
    threshold, v_reset = parameters.threshold, parameters.v_reset
    if v_reset is not None:
        membrane.masked_fill_(spikes.bool(), v_reset)
    elif isinstance(threshold, Tensor):
        membrane.sub_(threshold * spikes.to(membrane.dtype))
    else:
        membrane.sub_(spikes, alpha=threshold)


def _from_rest(charged: Tensor, parameters: LIFParameters) -> Tensor:
    """v_t − v_rest [B, …] of a charged membrane, in its place."""
    _reset(charged, (charged >= parameters.threshold).to(charged.dtype), parameters)
    return charged.sub_(parameters.v_reset) if parameters.v_reset else charged


def _reset_jacobian(charged: Tensor, spikes: Tensor, slope_t: Tensor, parameters: LIFParameters) -> Tensor | float:
    """∂v_t/∂u_t [B, …]: how much of the charged membrane survives the reset; ∂u_{t+1}/∂u_t is λ times this."""
    if parameters.v_reset is None:
        return 1.0 if parameters.detach_reset else 1.0 - parameters.threshold * slope_t
    if parameters.detach_reset:
        return 1.0 - spikes
    return 1.0 - spikes - (charged - parameters.v_reset) * slope_t
