"""What `rbp try` checks of a neuron of a user's own, beyond what each first step does (`own_neuron.py`)."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.errors import NeuronError
from rbp_engine.probes.layers import hooked
from rbp_engine.spiking import Carrier, OwnNeuron
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.own_neuron import FAR, OwnNeurons, tensors_of

TIMESTEPS = 16
# In float64.
TOLERANCE = 1e-8

Shapes = dict[OwnNeuron[Any], Sequence[int]]


@contextmanager
def shapes_of_inputs(model: nn.Module) -> Iterator[Shapes]:
    """Within it the network runs; it fills in what each neuron of a user's own receives of a sample, [C, …]."""
    found: Shapes = {}

    def note(module: OwnNeuron[Any], inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Carrier):
            found.setdefault(module, tuple(inputs[0].shape[1:]))

    with hooked(one.register_forward_pre_hook(note) for one in model.modules() if isinstance(one, OwnNeuron)):
        yield found


def check_neurons(shapes: Shapes) -> list[str]:
    """The kinds of neurons that were checked. Raises NeuronError for what is wrong with one."""
    for neuron, shape in shapes.items():
        try:
            check(copy.deepcopy(neuron).double(), shape)
        except NeuronError as error:
            raise NeuronError(f"{type(neuron).__name__}: {error}") from None
    return sorted({type(neuron).__name__ for neuron in shapes})


def check(neuron: OwnNeuron[Any], shape: Sequence[int]) -> None:
    """Whether it fires and resets, and whether its derivatives are finite and the same forward and backward.

    `neuron` is in float64. Raises NeuronError.
    """
    device = next((parameter.device for parameter in neuron.parameters()), None)
    zeros = torch.zeros(2, *shape, dtype=torch.float64, device=device)
    far = Current.of((zeros + FAR).expand(TIMESTEPS, *zeros.shape))
    if not OwnNeurons(neuron).spikes_only(far).amax(0).all():
        raise NeuronError(f"it does not fire in {TIMESTEPS} timesteps with a current of {FAR:g}")
    _check_reset(neuron, zeros)
    steps = torch.linspace(-1.0, 3.0, TIMESTEPS * zeros.numel(), dtype=torch.float64, device=device)
    currents = steps.view(zeros.numel(), TIMESTEPS).t().reshape(TIMESTEPS, *zeros.shape)
    for timesteps in (1, TIMESTEPS):
        _check_derivatives(neuron, currents[-timesteps:])


@torch.no_grad()
def _check_reset(neuron: OwnNeuron[Any], zeros: Tensor) -> None:
    charged = neuron.charge(neuron.at_rest(zeros), zeros + FAR)
    after, without = (tensors_of(neuron.reset_by(charged, spikes)) for spikes in (zeros + 1, zeros))
    if all(torch.equal(one, other) for one, other in zip(after, without, strict=True)):
        raise NeuronError("reset_by gives the same state with a spike as without")


def _check_derivatives(neuron: OwnNeuron[Any], currents: Tensor) -> None:
    """Compare the derivatives of the rate methods with the gradients of BPTT, of the firing rate."""
    timesteps = len(currents)
    neurons, current = OwnNeurons(neuron), Current.of(currents)
    by_current, *by_parameters = neurons.rate(current).derivatives
    try:
        backward = neurons.gradient_through_time(current, torch.full_like(currents, 1.0 / timesteps))
    except RuntimeError as error:
        raise NeuronError(f"autograd finds no gradient of its spikes: {error}") from error
    names = ["its current", *neuron.learnable]
    parameters = [one.sum_to_size(other.shape) for one, other in zip(by_parameters, backward[1], strict=True)]
    forwards, backwards = [by_current, *parameters], [backward[0].sum(0), *backward[1]]
    for name, forward, expected in zip(names, forwards, backwards, strict=True):
        if not (forward.isfinite().all() and expected.isfinite().all()):
            raise NeuronError(f"the derivative of its firing rate by {name} is not finite at T = {timesteps}")
        if not torch.allclose(forward, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise NeuronError(
                f"the derivative of its firing rate by {name}, taken forward in time, is not the gradient of BPTT at "
                f"T = {timesteps}: an autograd.Function of yours needs a jvp that fits its backward, or a parameter is "
                "used in another way than one number for each neuron"
            )
    if not by_current.any():
        raise NeuronError("its firing rate does not depend on its current: something is detached, or the slope is 0")
