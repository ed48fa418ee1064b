"""A user-defined neuron, given as what happens in one timestep: charge, fire, reset. The rest follows from these.

`OwnNeurons` is a layer of them as carriers fire it, with its loops over time, beside those of LIF. They run the three
functions as torch runs them, one timestep after the other, on float32 at least.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from rbp_engine.errors import NeuronError
from rbp_engine.spiking.carrier import Carrier, NeuronModule
from rbp_engine.spiking.current import Current, CurrentReader
from rbp_engine.spiking.dtypes import count_dtype, full, membrane_dtype
from rbp_engine.spiking.neuron_protocol import Membrane, ObservedStep, RatePass
from rbp_engine.spiking.steps import Steps, empty_steps
from rbp_engine.spiking.surrogate import Spike, Surrogate, create_surrogate

State = TypeVar("State")
Spiking = Callable[[Tensor], Tensor]

STEPS = 3
# Far beyond any threshold: a neuron that receives it fires, or is silent, at every timestep.
FAR = 1e3
_RECURRENT = (
    "A layer whose neurons reach one another, as by weights that feed spikes back, is recurrent, and is refused: the "
    "gradient of the rate methods is one number for each neuron, which holds where its past is its own. Put weights "
    "into the layers between neurons"
)


class Timestep(NamedTuple):
    """What a neuron layer does at one timestep: its spikes and their distance from the threshold, both [B, …], and the
    state for the next timestep.
    """

    spikes: Tensor
    distance: Tensor
    state: Any


class OwnNeuron(NeuronModule, Generic[State]):
    """The base class of user-defined neurons. A subclass writes three functions of one timestep, and `at_rest` unless
    its state is one tensor that begins as 0:

        charge(state, current)   the state after the input current, before it fires
        fire(state)              how far each neuron is above its threshold; it fires where that is 0 or more
        reset_by(state, spikes)  the state for the next timestep

    A state is one tensor [B, …], or a NamedTuple of several. Entries at the same place belong to one neuron: no
    function may look at another neuron or sample, draw random numbers, or change a tensor in place. `spikes.detach()`
    in `reset_by` keeps the reset out of the gradient. An `nn.Parameter` is trained; it is one number for the layer, or
    has a shape that broadcasts, such as [C, 1, 1] for one per channel.

    The gradient of the rate methods is the derivative of r = mean_t s_t, taken forward in time with the loop: g with
    respect to a current that is added at every timestep (paper, equation 10), and ∂r/∂θ for each parameter θ.

    Attributes:
        surrogate: the slope of the spike; a preset's `neuron.surrogate` replaces it.
        trace_decay: λ of the trace a_t = λ·a_{t−1} + s_t that the weights behind the neuron see in OTTT; None where
            the neuron has no such λ, and OTTT refuses it.
    """

    surrogate: Surrogate
    trace_decay: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.surrogate = create_surrogate("sigmoid")
        self._checked = False

    def start(self, current: Tensor) -> State:
        """The state before the first timestep, for currents like this one [B, …]."""
        return self.at_rest(torch.zeros_like(current.detach(), dtype=membrane_dtype(current.dtype)))

    def at_rest(self, zeros: Tensor) -> State:
        """The state before the first timestep; `zeros` [B, …] has the shape and type of each of its tensors."""
        return cast(State, zeros)

    def charge(self, state: State, current: Tensor) -> State:
        """The state after the input current [B, …], float32 at least."""
        raise NotImplementedError(f"{type(self).__name__} has no charge(state, current)")

    def fire(self, state: State) -> Tensor:
        """The distance [B, …] from the threshold, u_t − V_th for LIF: a spike where it is 0 or more."""
        raise NotImplementedError(f"{type(self).__name__} has no fire(state)")

    def reset_by(self, state: State, spikes: Tensor) -> State:
        """The state for the next timestep, after the spikes [B, …] of 0 and 1."""
        raise NotImplementedError(f"{type(self).__name__} has no reset_by(state, spikes)")

    def timestep(self, state: State, current: Tensor, spike: Spiking | None = None) -> Timestep:
        """One timestep; `spike` is H with the surrogate's slope, by default as the surrogate itself computes it."""
        charged = self.charge(state, current)
        distance = self.fire(charged)
        spikes = (spike or self.surrogate)(distance)
        return Timestep(spikes, distance, self.reset_by(charged, spikes))

    @property
    def learnable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def neurons_for(self, current: Any) -> OwnNeurons:
        """The layer as carriers fire it. The first carrier triggers a check of the neuron's functions."""
        if not self._checked and isinstance(current, Carrier) and not current.like.is_meta:
            check_timesteps(self, current.like)
            self._checked = True
        return OwnNeurons(self)


@dataclass(frozen=True)
class OwnNeurons:
    """A layer of user-defined neurons (`spiking/neuron_protocol.py`: `Neurons`)."""

    neuron: OwnNeuron[Any]

    @property
    def learnt(self) -> tuple[Tensor, ...]:
        return tuple(self.neuron.learnable.values())

    def at_rest(self, current: Tensor) -> Any:
        return self.neuron.start(current)

    def timestep(self, state: Any, current: Tensor) -> tuple[Tensor, Any]:
        spikes, _, state = self.neuron.timestep(state, current)
        return spikes, state

    @torch.no_grad()
    def spikes_only(self, current: Current) -> Tensor:
        spikes_TBX, state = empty_steps(current.like, current.length), self.neuron.start(current.like)
        for spikes_t, current_t in zip(spikes_TBX, _currents(current), strict=True):
            fired, state = self.timestep(state, current_t)
            spikes_t.copy_(fired)
        return spikes_TBX

    @torch.no_grad()
    def rate(self, current: Current) -> RatePass:
        loop = self.rate_loop(current, current.length)
        spikes = empty_steps(current.like, current.length, torch.uint8)
        for spikes_t, current_t in zip(spikes, _currents(current), strict=True):
            spikes_t.copy_(loop.observed(current_t).spikes)
        normalised = [term.steps for term in current.terms if term.normalisation]
        return RatePass(spikes, *loop.finish(), [_time_mean(steps, current.length) for steps in normalised])

    def rate_loop(self, like: Current, timesteps: int) -> OwnRateLoop:
        return OwnRateLoop(like.like, timesteps, self.neuron)

    def gradient_through_time(self, current: Current, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Runs the timesteps again, with their graph."""
        with torch.no_grad():
            currents = [current_t.requires_grad_() for current_t in _currents(current)]
        with torch.enable_grad():
            one_timestep, state, spikes = _WithParameters(self.neuron), self.neuron.start(current.like), []
            for current_t in currents:
                step = one_timestep(state, current_t)
                spikes.append(step.spikes)
                state = step.state
            sources, gradients = [*currents, *self.learnt], grad.to(spikes[0].dtype).unbind(0)
            at_sources = torch.autograd.grad(spikes, sources, gradients, materialize_grads=True)
        return torch.stack(at_sources[: len(currents)]).to(grad.dtype), list(at_sources[len(currents) :])

    def once(
        self, current: Sequence[Tensor], before: Membrane | None, *, through_time: bool, traced: bool
    ) -> tuple[Tensor, Membrane]:
        """Raises NeuronError if a trace is needed and the neuron has none."""
        neuron, decay = self.neuron, self.neuron.trace_decay
        if traced and decay is None:
            raise NeuronError(
                f"{type(neuron).__name__} has no trace_decay, the λ of the trace a_t = λ·a_{{t−1}} + s_t with which "
                "OTTT trains the weights behind a neuron: set it to the share of its membrane that a timestep keeps, "
                "or use another method (rate_m, rate_s, bptt, bptt_s, sltt)"
            )
        total = functools.reduce(operator.add, current)
        if before is None:
            state, trace = neuron.start(total), None  # its parameters are trained, through time or not
        else:
            state, trace = before.state if through_time else map_state(Tensor.detach, before.state), before.trace
        step = neuron.timestep(state, full(total))
        spikes = step.spikes.to(total.dtype)
        if decay is not None and traced:
            fired = spikes.detach()
            trace = fired if trace is None else decay * trace + fired
        return spikes, Membrane(step.state, trace)


@dataclass
class _Derivative:
    """The derivative of state and spikes with respect to one number: a current at every timestep, or a parameter."""

    parameter: str | None
    of_state: Any
    of_spikes: Tensor  # the sum over the timesteps so far, [B, …]


class OwnRateLoop:
    """The loop of the rate methods, step by step: spikes, and the derivatives of their time mean.

    A derivative goes forward in time with the state: ẋ_t = ∂x_t/∂x_{t−1}·ẋ_{t−1} + ∂x_t/∂θ for a state x of any
    number of tensors, and ∂r/∂θ = mean_t σ'_t·ḋ_t with the distance d. Torch takes it along with the values
    (`torch.func.jvp`), so that memory does not grow with T. For a current that is added at every timestep LIF's ẋ is
    ∂v_t/∂u_t·ρ_t. `detach` stops a derivative as it stops a gradient.
    """

    def __init__(self, current: Tensor, timesteps: int, neuron: OwnNeuron[Any]) -> None:
        """`current` [B, …] gives shape, type and device; the loop starts at rest."""
        self._neuron, self._timesteps, self._dtype = neuron, timesteps, current.dtype
        self._state = neuron.start(current)
        self._counts = torch.zeros_like(current, dtype=count_dtype(timesteps))
        nothing = torch.zeros_like(current, dtype=membrane_dtype(current.dtype))
        self._derivatives = [
            _Derivative(name, forward_mode(neuron, (), current, (), name)[1], nothing.clone())
            for name in (None, *neuron.learnable)
        ]

    def step(self, current: Current) -> Tensor:
        return self.observed(next(_currents(current))).spikes.to(self._dtype)

    @torch.no_grad()
    def observed(self, current: Tensor) -> ObservedStep:
        current, by_each = full(current), list[Tensor]()
        for derivative in self._derivatives:
            before, parameter = derivative.of_state, derivative.parameter
            step, of_step = forward_mode(self._neuron, self._state, current, before, parameter)
            derivative.of_state = of_step.state
            derivative.of_spikes.add_(of_step.spikes)
            by_each.append(of_step.spikes)
        self._state = step.state
        self._counts.add_(step.spikes.to(self._counts.dtype))
        return ObservedStep(step.spikes, step.distance, by_each[0])

    def finish(self) -> tuple[Tensor, list[Tensor]]:
        sums = (derivative.of_spikes for derivative in self._derivatives)
        return self._counts, [total.div_(self._timesteps).to(self._dtype) for total in sums]


def forward_mode(
    neuron: OwnNeuron[Any], state: Any, current: Tensor, of_state: Any, parameter: str | None
) -> tuple[Any, Any]:
    """A timestep, or for no state, (), the state at rest; and the derivative of its results with respect to a
    parameter, on which the state at rest may depend, or to the current if `parameter` is None.

    `of_state` is the derivative of the state with respect to the same.
    """
    learnable = {name: tensor.detach() for name, tensor in neuron.learnable.items()}
    by_parameters = {name: torch.full_like(tensor, float(name == parameter)) for name, tensor in learnable.items()}
    by_current = torch.full_like(current, float(parameter is None))
    values, directions = (learnable, state, current), (by_parameters, of_state, by_current)
    return jvp(partial(_run, neuron), values, directions)  # type: ignore[return-value]  # no third of aux


class _WithParameters(nn.Module):
    """A neuron for `functional_call`, with other parameters: a timestep, or for no state, (), the state at rest."""

    def __init__(self, neuron: OwnNeuron[Any]) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, state: Any, current: Tensor) -> Any:
        if isinstance(state, tuple) and not state:
            return self.neuron.start(current)
        return self.neuron.timestep(state, current, self.spike)

    def spike(self, distance: Tensor) -> Tensor:
        return Spike.apply(distance, self.neuron.surrogate)


def _run(neuron: OwnNeuron[Any], parameters: dict[str, Tensor], state: Any, current: Tensor) -> Any:
    """The same, with these parameters."""
    named = {f"neuron.{name}": tensor for name, tensor in parameters.items()}
    return functional_call(_WithParameters(neuron), named, (state, current))


def _time_mean(steps: Steps, timesteps: int) -> Tensor:
    """[B, …], added up in the order of `loops.rate`."""
    if steps.mean_is_known:
        return steps.time_mean()
    total = torch.zeros_like(steps.at(0), dtype=membrane_dtype(steps.dtype))
    for t in range(timesteps):
        total.add_(steps.at(t))
    return total.div_(timesteps).to(steps.dtype)


def _currents(current: Current) -> Iterator[Tensor]:
    """The currents [B, …] of one timestep after the other, float32 at least; each is a tensor of its own."""
    reader = CurrentReader(current)
    return (reader.at(t).detach().clone() for t in range(current.length))


def tensors_of(state: Any) -> list[Tensor]:
    """The tensors of a state: itself, or those of a tuple. Raises NeuronError for anything else."""
    tensors = list(state) if isinstance(state, tuple) else [state]
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise NeuronError(f"its state is {kind_of(state)}; a state is one tensor [B, …], or a NamedTuple of several")
    return tensors


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """A state of the same kind, with the function applied to each tensor."""
    mapped = list(map(function, tensors_of(state)))
    if isinstance(state, Tensor):
        return mapped[0]
    return type(state)(*mapped) if hasattr(state, "_fields") else tuple(mapped)


def kind_of(value: Any) -> str:
    """What it is, for messages: type and shape of a tensor, the type of anything else."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple) else type(value).__name__


@torch.no_grad()
def check_timesteps(neuron: OwnNeuron[Any], like: Tensor) -> None:
    """Run some timesteps for two samples of the shape of `like` [B, …].

    Raises NeuronError if shapes or types are wrong, if a tensor is changed in place, if distances are NaN, if random
    numbers are drawn, or if a neuron's current changes another neuron.
    """
    try:
        zeros = torch.zeros((2, *like.shape[1:]), dtype=membrane_dtype(like.dtype), device=like.device)
        _check_parameters(neuron, zeros)
        currents = _test_currents(zeros)
        _check_types(neuron, zeros, currents[0])
        once = _distances(neuron, zeros, currents)
        if once[:STEPS].isnan().any():
            raise NeuronError(
                "its distances are NaN for currents from -1 to 3: look for what divides by 0, or for a log"
            )
        if not _same(once, _distances(neuron, zeros, currents)).all():
            raise NeuronError("the same currents give other values a second time: it must not draw random numbers")
        for far in (FAR, -FAR):
            changed = currents.clone()
            changed.view(STEPS, -1)[:, 0] = far
            other = ~_same(once, _distances(neuron, zeros, changed)).flatten(1)
            if other[:, 1:].any():
                raise NeuronError(f"the current of one neuron changes another neuron. {_RECURRENT}")
    except NeuronError as error:
        raise NeuronError(f"{type(neuron).__name__}: {error}") from None


def _check_parameters(neuron: OwnNeuron[Any], zeros: Tensor) -> None:
    for name, parameter in neuron.learnable.items():
        sizes = zip(reversed(parameter.shape), reversed(zeros.shape), strict=False)
        fits = parameter.ndim < zeros.ndim and all(size in (1, there) for size, there in sizes)
        if not fits:
            layer = ", ".join(map(str, zeros.shape[1:]))
            channel = [zeros.shape[1], *[1] * (zeros.ndim - 2)]
            raise NeuronError(
                f"the parameter {name} has the shape {list(parameter.shape)}, and a neuron layer of [B, {layer}] can "
                f"have one number ([]), or one a channel ({channel}). {_RECURRENT}"
            )


def _check_types(neuron: OwnNeuron[Any], zeros: Tensor, current: Tensor) -> None:
    """Raise NeuronError unless the state keeps its shape and everything is left as it was."""
    rest = neuron.at_rest(zeros)
    for tensor in tensors_of(rest):
        _check_numbers("at_rest gives", tensor, zeros)
    given = [*tensors_of(rest), current]
    before = [tensor._version for tensor in given]
    charged = neuron.charge(rest, current)
    _check_kind("charge gives", charged, rest)
    _check_numbers("fire gives", neuron.fire(charged), current)
    spikes, _, state = neuron.timestep(rest, current)
    if [tensor._version for tensor in given] != before:
        raise NeuronError("it changes its state or its current in place; return a new tensor: v + I, not v.add_(I)")
    _check_kind("reset_by gives", state, rest)
    if not ((spikes == 0) | (spikes == 1)).all():
        raise NeuronError("its spikes are not 0 and 1: leave them to the surrogate, and give the distance in fire")


def _check_kind(what: str, state: Any, rest: Any) -> None:
    if type(state) is not type(rest) or len(tensors_of(state)) != len(tensors_of(rest)):
        raise NeuronError(
            f"{what} {kind_of(state)}, and at rest its state is {kind_of(rest)}: keep to one kind of state"
        )
    for tensor, before in zip(tensors_of(state), tensors_of(rest), strict=True):
        _check_numbers(what, tensor, before)


def _check_numbers(what: str, tensor: Any, expected: Tensor) -> None:
    if not isinstance(tensor, Tensor) or tensor.shape != expected.shape or tensor.dtype != expected.dtype:
        raise NeuronError(
            f"{what} {kind_of(tensor)}, expected {kind_of(expected)} as the current: one number for each neuron"
        )


def _test_currents(zeros: Tensor) -> Tensor:
    """Currents [STEPS, 2, …] from -1 to 3, the same in every process and without the global generator."""
    numbers = torch.arange(STEPS * zeros.numel(), device=zeros.device)
    return ((numbers * 7919 % 401) / 100 - 1).to(zeros.dtype).view(STEPS, *zeros.shape)


def _distances(neuron: OwnNeuron[Any], zeros: Tensor, currents: Tensor) -> Tensor:
    """What the neurons do [N, 2, …]: their distances at each timestep, and the final state."""
    state, results = neuron.at_rest(zeros), []
    for current in currents:
        _, distance, state = neuron.timestep(state, current)
        results.append(distance)
    return torch.stack([*results, *tensors_of(state)])


def _same(left: Tensor, right: Tensor) -> Tensor:
    return (left == right) | (left.isnan() & right.isnan())
