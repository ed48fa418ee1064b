"""What rate-based backpropagation assumes, measured by layer in a step of BPTT.

It takes the time mean of a product for the product of time means, once at each neuron and once at each weight (paper,
section 4). For δ_t = ∂L/∂s_t, the eligibility terms e_t = σ'_t·ρ_t, and c_t = W·x_t:

    at a neuron     mean_t(δ_t ⊙ e_t) ≈ mean_t δ_t ⊙ mean_t e_t
    at a weight     mean_t(∂L/∂c_t·x_tᵀ) ≈ mean_t ∂L/∂c_t · mean_t x_tᵀ

The left sides are what BPTT computes: the time mean of ∂L/∂I_t, and ∂L/∂W divided by T. The error of a layer is the
norm of the difference by the norm of the left side.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.probes.layers import NeuronLayer, neuron_layers, weight_layers
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.carrier import all_carriers
from rbp_engine.spiking.carriers.single_step import StepTensor
from rbp_engine.spiking.kernels.neuron_input import Current, membrane_dtype

Weighted: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Linear
BPTTCarrier: TypeAlias = SequenceTensor | StepTensor


class AssumptionWatch:
    """Watches one step of multi-step or single-step BPTT on a network; the norms are then known."""

    def __init__(self, model: nn.Module, timesteps: int) -> None:
        self._model = model
        self._neurons = {
            name: _Uses(module, partial(_NeuronUse, module, timesteps)) for name, module in neuron_layers(model).items()
        }
        weighted = [module for module in model.modules() if isinstance(module, Weighted)]
        self._weighted = [_Uses(module, partial(_WeightUse, module, timesteps)) for module in weighted]

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Within it the network takes the step."""
        with ExitStack() as hooks:
            for neurons in self._neurons.values():
                hooks.enter_context(neurons.module.register_forward_hook(neurons.hook, with_kwargs=True))
            for weighted in self._weighted:
                hooks.enter_context(weighted.module.register_forward_hook(weighted.hook, with_kwargs=True))
            yield

    def neuron_norms(self) -> dict[str, Tensor]:
        """For each neuron layer the squared norms of the difference and of the left side, [2]; unknown ones left out.

        A layer that is used in several places has the sums over them.
        """
        found = {name: [use.norms for use in uses] for name, uses in self._neurons.items()}
        known = {name: [norms for norms in by_use if norms is not None] for name, by_use in found.items()}
        complete = [name for name in found if 0 < len(found[name]) == len(known[name])]
        return {name: torch.stack(known[name]).sum(0) for name in complete}

    def weight_norms(self) -> dict[str, Tensor]:
        """The same for each weight layer, from the gradients that BPTT has left in `.grad`."""
        found = {}
        for name, weight in weight_layers(self._model).items():
            uses = [use for own in self._weighted if own.module.weight is weight for use in own]
            if weight.grad is not None and uses and all(use.complete for use in uses):
                together = weight.grad / uses[0].timesteps
                apart = sum((use.gradient_of_means() for use in uses), torch.zeros_like(together))
                found[name] = squared_norms(together - apart, together)
        return found


def squared_norms(*tensors: Tensor) -> Tensor:
    """The squared Euclidean norm of each, in float64: [number of tensors]."""
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors]).square()


class _NeuronUse:
    """A neuron layer in one place of the network; the squared norms are known after the backward pass."""

    def __init__(self, module: NeuronLayer, timesteps: int) -> None:
        self.timesteps = timesteps
        self.norms: Tensor | None = None
        self._module = module
        self._currents: list[Tensor] = []
        self._gradients: dict[int, Tensor] = {}

    def add(self, received: BPTTCarrier, returned: BPTTCarrier) -> None:
        spikes = returned.values()
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
        """From ∂L/∂s [T, B, …]."""
        batch = current.like
        together, gradients, eligibility = (
            torch.zeros_like(batch, dtype=membrane_dtype(batch.dtype)) for _ in range(3)
        )
        terms = self._module.neurons_for(batch).eligibility_terms(current)
        for gradient_t, term_t in zip(gradients_by_step, terms, strict=True):
            together.addcmul_(gradient_t.to(term_t.dtype), term_t, value=1.0 / self.timesteps)
            gradients.add_(gradient_t, alpha=1.0 / self.timesteps)
            eligibility.add_(term_t, alpha=1.0 / self.timesteps)
        self.norms = squared_norms(together - gradients.mul_(eligibility), together)


class _WeightUse:
    """A weight layer in one place of the network: the time means of what it received, and of ∂L/∂c."""

    def __init__(self, module: Weighted, timesteps: int) -> None:
        self.timesteps = timesteps
        self._module = module
        self._input: Tensor | None = None
        self._gradient: Tensor | None = None
        self._steps = 0

    @property
    def complete(self) -> bool:
        """Whether the gradients of all timesteps are known."""
        return self._steps == self.timesteps

    def add(self, received: BPTTCarrier, returned: BPTTCarrier) -> None:
        self._input = _added(self._input, self._mean(received.values().detach(), received))
        outputs = returned.values()
        if outputs.requires_grad:
            steps = 1 if isinstance(returned, StepTensor) else self.timesteps
            # The gradient of an output that is kept once for all timesteps is the sum over them.
            by_step = isinstance(returned, SequenceTensor) and not returned.static
            outputs.register_hook(partial(self._arrived, steps, by_step))

    def _mean(self, values: Tensor, carrier: BPTTCarrier) -> Tensor:
        values = values.to(self._module.weight.dtype)
        if isinstance(carrier, StepTensor):
            return values / self.timesteps
        return values if carrier.static else values.mean(0)

    def _arrived(self, steps: int, by_step: bool, gradient: Tensor) -> None:
        gradient = gradient.to(self._module.weight.dtype)
        self._gradient = _added(self._gradient, gradient.mean(0) if by_step else gradient / self.timesteps)
        self._steps += steps

    def gradient_of_means(self) -> Tensor:
        """mean_t ∂L/∂c_t · mean_t x_tᵀ, in the shape of the weight."""
        assert self._input is not None and self._gradient is not None
        module, weight = self._module, self._module.weight.detach().requires_grad_()
        with torch.enable_grad():
            if isinstance(module, nn.Linear):
                out = F.linear(self._input, weight)
            else:
                convolution = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
                out = convolution(
                    self._input, weight, None, module.stride, module.padding, module.dilation, module.groups
                )
        [gradient] = torch.autograd.grad(out, weight, self._gradient)
        return gradient


M = TypeVar("M", bound=nn.Module)
U = TypeVar("U", bound=_NeuronUse | _WeightUse)


class _Uses(Generic[M, U]):
    """The places of the network in which a module is used, in order."""

    def __init__(self, module: M, make: Callable[[], U]) -> None:
        self.module = module
        self._make = make
        self._found: list[U] = []
        self._step = -1
        self._next = 0

    def __iter__(self) -> Iterator[U]:
        return iter(self._found)

    def hook(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        """A forward hook of the module."""
        received = next(iter(all_carriers([*args, *kwargs.values()])), None)
        if isinstance(received, BPTTCarrier) and isinstance(output, BPTTCarrier):
            self._of(received).add(received, output)

    def _of(self, carrier: BPTTCarrier) -> U:
        """The place of the current call. Single-step BPTT calls each of them once in every timestep."""
        if isinstance(carrier, StepTensor):
            if carrier.state.step != self._step:
                self._step, self._next = carrier.state.step, 0
            self._next += 1
            if self._next <= len(self._found):
                return self._found[self._next - 1]
        self._found.append(self._make())
        return self._found[-1]


def _added(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part
