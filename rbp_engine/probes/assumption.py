"""What rate-based backpropagation assumes, measured by layer in a step of BPTT.

It takes the time mean of a product for the product of time means, once at each neuron and once at each weight (paper,
section 4). For δ_t = ∂L/∂s_t, the eligibility terms e_t = σ'_t·ρ_t, and c_t = W·x_t:

    at a neuron     mean_t(δ_t ⊙ e_t) ≈ mean_t δ_t ⊙ mean_t e_t
    at a weight     mean_t(∂L/∂c_t·x_tᵀ) ≈ mean_t ∂L/∂c_t · mean_t x_tᵀ

The left sides are what BPTT computes: the time mean of ∂L/∂I_t, and ∂L/∂W divided by T. The error of a layer is the
norm of the difference divided by the norm of the left side.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rbp_engine.probes.layers import NEURON_LAYERS, WEIGHT_LAYERS, hooked, neuron_layers, weight_layers
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.carrier import all_carriers
from rbp_engine.spiking.carriers.single_step import StepTensor
from rbp_engine.spiking.current import Current, CurrentReader
from rbp_engine.spiking.dtypes import membrane_dtype

BPTTCarrier: TypeAlias = SequenceTensor | StepTensor


class AssumptionWatch:
    """Watches one step of multi-step or single-step BPTT on a network, and then has the norms.

    A norm is NaN if a layer took no part or had no gradient, or if its weight belongs to another kind of module.
    """

    def __init__(self, model: nn.Module, timesteps: int) -> None:
        self._model = model
        self._timesteps = timesteps
        watched = (module for module in model.modules() if isinstance(module, NEURON_LAYERS + WEIGHT_LAYERS))
        self._uses: dict[nn.Module, list[Any]] = {module: [] for module in watched}
        self._unknown = next(model.parameters()).new_full((2,), math.nan, dtype=torch.float64)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Within it the network takes the step."""
        hooks = (
            module.register_forward_hook(partial(_watch, uses, self._timesteps), with_kwargs=True)
            for module, uses in self._uses.items()
        )
        with hooked(hooks):
            yield

    def neuron_norms(self) -> dict[str, Tensor]:
        """For each neuron layer the squared norms of the difference and of the left side, [2].

        A layer that is used in several places has the sums over them.
        """
        layers = neuron_layers(self._model).items()
        by_layer = {name: [use.norms for use in self._uses[module]] for name, module in layers}
        return {name: torch.stack(norms or [self._unknown]).sum(0) for name, norms in by_layer.items()}

    def weight_norms(self) -> dict[str, Tensor]:
        """The same for each weight layer, from the gradients that BPTT has left in `.grad`."""
        return {name: self._norms_of(weight) for name, weight in weight_layers(self._model).items()}

    def _norms_of(self, weight: nn.Parameter) -> Tensor:
        layers = [module for module in self._uses if isinstance(module, WEIGHT_LAYERS) and module.weight is weight]
        uses = [use for layer in layers for use in self._uses[layer]]
        if weight.grad is None or not uses or not all(use.timesteps_seen == self._timesteps for use in uses):
            return self._unknown
        together = weight.grad / self._timesteps
        apart = sum((use.gradient_of_means() for use in uses), torch.zeros_like(together))
        return squared_norms(together - apart, together)


def squared_norms(*tensors: Tensor) -> Tensor:
    """The squared Euclidean norm of each, in float64: [number of tensors]."""
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors]).square()


@dataclass(eq=False)
class _NeuronUse:
    """A neuron layer in one place of the network; the squared norms are known after the backward pass."""

    module: Any
    timesteps: int
    calls: int = 0
    norms: Tensor = field(init=False)
    _currents: list[Tensor] = field(default_factory=list)
    _gradients: dict[int, Tensor] = field(default_factory=dict)

    def add(self, received: BPTTCarrier, returned: BPTTCarrier) -> None:
        spikes = returned.values()
        self.norms = spikes.new_full((2,), math.nan, dtype=torch.float64)
        if isinstance(received, StepTensor):
            self._currents.append(received.values().detach())
            then: Callable[[Tensor], None] = partial(self._arrived, len(self._currents) - 1)
        else:
            then = partial(self._compute, received.current)
        if spikes.requires_grad:
            spikes.register_hook(then)

    def _arrived(self, t: int, gradient: Tensor) -> None:
        self._gradients[t] = gradient
        if len(self._gradients) == self.timesteps:
            current = Current.of(torch.stack(self._currents))
            self._compute(current, torch.stack([self._gradients[t] for t in range(self.timesteps)]))
            self._currents, self._gradients = [], {}

    @torch.no_grad()
    def _compute(self, current: Current, gradients_by_step: Tensor) -> None:
        """Compute the norms from ∂L/∂s [T, B, …]."""
        batch = current.like
        together, gradients, eligibility = (
            torch.zeros_like(batch, dtype=membrane_dtype(batch.dtype)) for _ in range(3)
        )
        loop, reader = self.module.neurons_for(batch).rate_loop(current, self.timesteps), CurrentReader(current)
        for t, gradient_t in enumerate(gradients_by_step):
            term_t = loop.observed(reader.at(t)).eligibility
            together.addcmul_(gradient_t.to(term_t.dtype), term_t, value=1.0 / self.timesteps)
            gradients.add_(gradient_t, alpha=1.0 / self.timesteps)
            eligibility.add_(term_t, alpha=1.0 / self.timesteps)
        self.norms = squared_norms(together - gradients.mul_(eligibility), together)


@dataclass(eq=False)
class _WeightUse:
    """A weight layer in one place of the network: the time means of what it received, and of ∂L/∂c."""

    module: Any
    timesteps: int
    calls: int = 0
    _input: Any = 0.0
    _gradient: Any = 0.0
    timesteps_seen: int = 0  # with a gradient

    def add(self, received: BPTTCarrier, returned: BPTTCarrier) -> None:
        self._input = self._input + self._mean(received.values().detach(), received)
        outputs = returned.values()
        if outputs.requires_grad:
            steps = 1 if isinstance(returned, StepTensor) else self.timesteps
            # The gradient of an output that is kept once for all timesteps is the sum over them.
            by_step = isinstance(returned, SequenceTensor) and not returned.current.static
            outputs.register_hook(partial(self._arrived, steps, by_step))

    def _mean(self, values: Tensor, carrier: BPTTCarrier) -> Tensor:
        values = values.to(self.module.weight.dtype)
        if isinstance(carrier, StepTensor):
            return values / self.timesteps
        return values if carrier.current.static else values.mean(0)

    def _arrived(self, steps: int, by_step: bool, gradient: Tensor) -> None:
        gradient = gradient.to(self.module.weight.dtype)
        self._gradient = self._gradient + (gradient.mean(0) if by_step else gradient / self.timesteps)
        self.timesteps_seen += steps

    def gradient_of_means(self) -> Tensor:
        """mean_t ∂L/∂c_t · mean_t x_tᵀ, in the shape of the weight."""
        weight = self.module.weight.detach().requires_grad_()
        with torch.enable_grad():
            out = functional_call(self.module, {"weight": weight}, (self._input,))
        return torch.autograd.grad(out, weight, self._gradient)[0]


def _watch(
    uses: list[Any], timesteps: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
) -> None:
    """A forward hook of a layer with its `uses`, in order.

    Single-step BPTT calls each of them once in every timestep.
    """
    received = next(iter(all_carriers([*args, *kwargs.values()])), None)
    if isinstance(received, BPTTCarrier) and isinstance(output, BPTTCarrier):
        calls = received.state.step if isinstance(received, StepTensor) else 0
        use = next((use for use in uses if use.calls == calls), None)
        if use is None:
            use = (_WeightUse if isinstance(module, WEIGHT_LAYERS) else _NeuronUse)(module, timesteps)
            uses.append(use)
        use.calls += 1
        use.add(received, output)
