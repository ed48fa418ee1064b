"""The LIF neuron as a module: for every carrier, and for plain tensors step by step."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn

from rbp_engine.spiking.carrier import Carrier, refuse_checkpointing
from rbp_engine.spiking.fusion import membrane_dtype
from rbp_engine.spiking.layers.compiler import Kernel, KernelChoice, choose
from rbp_engine.spiking.layers.lif import LIFNeurons
from rbp_engine.spiking.surrogate import create_surrogate
from rbp_engine.vocabulary import LearntName

LearnBy = Literal["layer", "channel"]


class NeuronModule(base.MemoryModule):  # type: ignore[misc]  # SpikingJelly ships no types
    """A layer of neurons as a module: for every carrier, and for plain tensors step by step."""

    def forward(self, current: Any) -> Any:
        """Spikes for input currents: a carrier for a carrier of the same kind, a tensor for a tensor."""
        if isinstance(current, Tensor):
            return super().forward(current)
        refuse_checkpointing()
        current.check_unchanged(type(self).__name__)
        self.prepare(current)
        return current.fire(self.neurons_for(current))

    def prepare(self, current: Carrier) -> None:
        """Called before the neurons fire."""

    def multi_step_forward(self, currents: Tensor) -> Tensor:
        """Spikes [T, B, …] of T timesteps, from what the timestep before has left."""
        return torch.stack([self.single_step_forward(current) for current in currents.unbind(0)])


class LIF(NeuronModule):
    """Leaky integrate-and-fire neuron with the paper's defaults (section 3.1; `spiking/layers/loops.py`).

    Given a `Carrier` it runs all timesteps from rest and keeps no state. Given a plain tensor it is an ordinary
    SpikingJelly neuron: step mode "s" takes [B, …] and keeps the membrane in `v` until `reset()`, "m" takes
    [T, B, …]. So SpikingJelly's own networks take it: `sew_resnet18(spiking_neuron=LIF, cnf="ADD")`.

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
        self.v: Tensor | float
        self.register_memory("v", self.v_reset or 0.0)

    @property
    def decay(self) -> float | Tensor:
        """λ; where it is learnt a tensor with its graph, [] or by channel [C], in float32 at least."""
        return self._decay if self.decay_logit is None else torch.sigmoid(_full(self.decay_logit))

    @property
    def threshold(self) -> float | Tensor:
        """V_th, likewise."""
        return self._threshold if self.log_threshold is None else torch.exp(_full(self.log_threshold))

    @property
    def neurons(self) -> LIFNeurons:
        """The layer as carriers fire it, read from the attributes of the module."""
        kernel: Kernel = "eager" if self.kernel == "auto" else self.kernel
        return LIFNeurons(self.decay, self.threshold, self.v_reset, self.detach_reset, self.surrogate, kernel)

    def prepare(self, current: Carrier) -> None:
        """The kernel "auto" becomes the one that works for the device."""
        if self.kernel == "auto":
            self.kernel, problem = choose("auto", current.like.device.type)
            if problem:
                warnings.warn(problem, stacklevel=3)

    def neurons_for(self, current: Carrier | Tensor) -> LIFNeurons:
        """The layer for an input [B, C, …], whose channels give what is learnt by channel its shape.

        Raises ValueError for an input with another number of channels than the first one.
        """
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

    def single_step_forward(self, current: Tensor) -> Tensor:
        """Spikes [B, …] of one timestep; `v` keeps the membrane for the next.

        Raises ValueError if the input's shape is not that of the membrane which the previous input left.
        """
        if not isinstance(self.v, Tensor):
            self.v = torch.full_like(current.detach(), self.v, dtype=membrane_dtype(current.dtype))
        if self.v.shape != current.shape:
            raise ValueError(
                f"the membrane has the shape {list(self.v.shape)} of the input before, this one {list(current.shape)}: "
                "before another batch call reset() of the neuron, or rbp_engine.methods.reset_state(model); "
                "step and predict of a method do so"
            )
        spikes, self.v = self.neurons_for(current).timestep(self.v, current)
        return spikes.to(current.dtype)

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


def _full(parameter: Tensor) -> Tensor:
    return parameter.to(membrane_dtype(parameter.dtype))
