"""Neurons of a user's own: LIF's bits, the derivatives of several states and parameters, and what is refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from rbp_engine.errors import NeuronError
from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, OwnNeuron
from rbp_engine.vocabulary import RATE_METHODS
from tests.own_neurons import OwnLIF, documented
from tests.unit.spiking.method_checks import RESETS

NEURONS = {
    "adaptive": lambda: documented().AdaptiveLIF(beta=0.4),
    "adaptive, not detached": lambda: not_detached(documented().AdaptiveLIF)(beta=0.4),
    "current": lambda: documented().CurrentLIF(),
    "current, not detached": lambda: not_detached(documented().CurrentLIF)(),
    "by channel": lambda: ByChannel(),
    "learnt at rest": lambda: LearntRest(),
}


class ByChannel(OwnNeuron[Tensor]):
    """A LIF neuron whose decay and threshold are trained, the threshold for each of four channels."""

    trace_decay = 0.5

    def __init__(self):
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(0.6))
        self.threshold = nn.Parameter(torch.tensor([0.5, 0.8, 1.0, 1.2]))

    def charge(self, state, current):
        return self.decay * state + current

    def fire(self, state):
        return state - self.threshold

    def reset_by(self, state, spikes):
        return state - self.threshold * spikes


def not_detached(kind):
    """The neuron with its reset in the gradient."""

    class Attached(kind):
        def reset_by(self, state, spikes):
            if hasattr(state, "adaptation"):
                return type(state)(state.membrane - spikes, self.adaptation_decay * state.adaptation + spikes)
            return type(state)(state.current, (1.0 - spikes) * state.membrane)

    return Attached


def convolutional(neuron):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5), neuron(),
        nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), neuron(),
        nn.AvgPool2d(2), nn.Conv2d(6, 6, 3), neuron(), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def stepped(model, method, images, timesteps, **settings):
    """What a step gives, and the gradients."""
    labels = torch.arange(images.shape[-2 if images.ndim == 2 else -4]) % 4
    out = create_method(method, timesteps, **settings).step(model, images, labels)
    return out, [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("method", METHODS)
def test_lif_written_as_ones_own_has_the_bits_of_lif(method, reset):
    images = 2 * torch.rand(4, 3, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    built_in, of_lif = stepped(convolutional(lambda: LIF(**RESETS[reset])), method, images, 4)
    own, of_own = stepped(convolutional(lambda: OwnLIF(**RESETS[reset])), method, images, 4)
    assert torch.equal(own.logits, built_in.logits) and torch.equal(own.loss, built_in.loss)
    # The rate methods multiply (1 − V_th·σ')·ρ in one order for LIF, and in another for the derivatives of functions;
    # the single-step methods σ'·∂L/∂s in one order for LIF, and as autograd does for others.
    rounding = ("detached" not in reset and method in RATE_METHODS) or method in ("bptt_s", "sltt", "ottt")
    for found, expected in zip(of_own, of_lif, strict=True):
        if rounding:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
        else:
            assert torch.equal(found, expected)


def linear(neuron):
    torch.manual_seed(2)
    layers = nn.Sequential(nn.Linear(6, 4), NEURONS[neuron](), nn.Linear(4, 4), NEURONS[neuron](), nn.Linear(4, 4))
    with torch.no_grad():
        for module in layers:
            if isinstance(module, nn.Linear):
                module.weight.mul_(3.0)
    return layers.double()


def run_over_time(neuron, currents, through_time=True):
    """The spikes of T timesteps by autograd's own graph."""
    state, spikes = neuron.at_rest(torch.zeros_like(currents[0])), []
    for current in currents:
        if not through_time:
            state = type(state)(*(x.detach() for x in state)) if isinstance(state, tuple) else state.detach()
        charged = neuron.charge(state, current)
        fired = neuron.surrogate(neuron.fire(charged))
        spikes.append(fired)
        state = neuron.reset_by(charged, fired)
    return spikes


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("method", RATE_METHODS)
def test_the_rate_gradient_is_that_of_the_definition(neuron, method):
    """Which is autograd's of the neuron's own functions; tests/fuzz holds it against oracles."""
    images = 2 * torch.rand(5, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found, expected = (
        gradients(linear(neuron), method, images, torch.arange(7) % 4, 5, reference=reference)
        for reference in (False, True)
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert all(one.abs().max() > 0 for one in found)


def gradients(model, method, images, labels, timesteps, **settings):
    model.zero_grad()
    create_method(method, timesteps, **settings).step(model, images, labels, time=images.ndim == 3)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


class LearntRest(OwnNeuron[Tensor]):
    """A membrane whose value at rest is trained."""

    def __init__(self):
        super().__init__()
        self.rest = nn.Parameter(torch.tensor(0.3))

    def at_rest(self, zeros):
        return zeros + self.rest

    def charge(self, state, current):
        return 0.5 * state + current

    def fire(self, state):
        return state - 1.0

    def reset_by(self, state, spikes):
        return state - spikes.detach()


@pytest.mark.parametrize("neuron", [neuron for neuron in NEURONS if neuron != "learnt at rest"])
@pytest.mark.parametrize("method", ["bptt", "bptt_s", "sltt"])
def test_the_other_methods_are_those_of_autograd(neuron, method):
    images, labels = 2 * torch.rand(7, 6, dtype=torch.float64), torch.arange(7) % 4
    steps = [images] * 4
    for module in (model := linear(neuron)):
        is_own = isinstance(module, OwnNeuron)
        steps = run_over_time(module, steps, method != "sltt") if is_own else [module(x) for x in steps]
    outputs = torch.stack(steps)
    loss = F.cross_entropy(outputs.mean(0), labels)
    if method == "sltt":
        loss = torch.stack([F.cross_entropy(output, labels) for output in outputs]).mean()
    expected = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(gradients(model, method, images, labels, 4), expected, rtol=1e-10, atol=1e-12)


def test_evaluation_and_plain_tensors_give_the_same_spikes():
    model = linear("adaptive").eval()
    images = 2 * torch.rand(3, 6, dtype=torch.float64)
    logits = create_method("rate_m", 4).predict(model, images)
    with torch.no_grad():
        assert torch.equal(torch.stack([model(images) for _ in range(4)]), logits)
        with pytest.raises(
            ValueError, match=r"the state has the shape \[3, 4\] of the input before, this one \[2, 4\]"
        ):
            model(images[:2])
        reset_net(model)
        assert torch.equal(model(images[:2]), logits[0, :2])


def test_low_precision_is_for_spikes_and_not_for_the_state():
    model = linear("current").float()
    seen = []
    model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    charge = model[1].charge
    model[1].charge = lambda state, current: (seen.append(current.dtype), charge(state, current))[1]
    create_method("rate_m", 2, precision="bf16").step(model, torch.rand(3, 6), torch.tensor([0, 1, 2]))
    assert set(seen) == {torch.bfloat16, torch.float32} and seen[-1] is torch.bfloat16


def test_ottt_refuses_a_neuron_without_a_trace_and_says_what_to_do():
    images, labels = torch.rand(2, 6, dtype=torch.float64), torch.tensor([0, 1])
    with pytest.raises(NeuronError, match=r"CurrentLIF has no trace_decay, .* or use another method \(rate_m"):
        gradients(linear("current"), "ottt", images, labels, 2)


class Recurrent(OwnLIF):
    """Spikes are fed back through weights."""

    def __init__(self):
        super().__init__(detach_reset=False)
        self.back = nn.Linear(4, 4)

    def reset_by(self, state, spikes):
        return super().reset_by(state, spikes) + self.back(spikes)


class TwoNumbers(OwnLIF):
    def __init__(self):
        super().__init__()
        self.both = nn.Parameter(torch.tensor([0.5, 1.0]))


def variant(name, **functions):
    """LIF written as one's own, with other functions."""
    return type(name, (OwnLIF,), functions)


def inhibited(self, state, current):
    """Neurons of a layer inhibit one another."""
    charged = self.decay * state + current
    return charged - charged.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Recurrent, r"the parameter back\.weight has the shape \[4, 4\], .* recurrent, and is refused"),
        (variant("Inhibited", charge=inhibited), r"one neuron changes another neuron\. .* recurrent, and is refused"),
        (variant("OverTheBatch", fire=lambda self, v: v - v.mean(0)), "current of one neuron changes another neuron"),
        (variant("NotFinite", charge=lambda self, v, x: v + x.log()), "its distances are NaN for currents from -1"),
        (variant("Noisy", fire=lambda self, v: v - torch.rand_like(v)), "it must not draw random numbers"),
        (variant("InPlace", charge=lambda self, v, x: v.mul_(0.2).add_(x)), "its state or its current in place"),
        (variant("OneNumber", fire=lambda self, v: (v - 1.0).amax(1)), r"fire gives float32 \[2\], expected"),
        (variant("Grown", reset_by=lambda self, v, s: (v, s)), "reset_by gives tuple of 2, and at rest its state"),
        (variant("Listed", at_rest=lambda self, zeros: [zeros]), "its state is list; a state is one tensor"),
        (variant("Doubled", charge=lambda self, v, x: (v + x).double()), r"charge gives float64 \[2, 4\], expec"),
        (TwoNumbers, r"the parameter both has the shape \[2\], .* one number \(\[\]\), or one a channel \(\[4\]\)"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(kind, why):
    model = nn.Sequential(nn.Linear(6, 4), kind(), nn.Linear(4, 4))
    with pytest.raises(NeuronError, match=rf"{kind.__name__}: .*({why})"):
        create_method("rate_m", 2).step(model, torch.rand(3, 6), torch.tensor([0, 1, 2]))


def test_a_function_that_is_missing_is_named():
    unfinished = type("Unfinished", (OwnNeuron,), {"charge": lambda self, v, x: v + x})
    model = nn.Sequential(nn.Linear(6, 4), unfinished(), nn.Linear(4, 4))
    with pytest.raises(NotImplementedError, match=r"Unfinished has no fire\(state\)"):
        create_method("rate_m", 2).step(model, torch.rand(3, 6), torch.tensor([0, 1, 2]))


def test_threads_train_networks_of_own_neurons_at_once():
    def step(_):
        generator = torch.Generator().manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 20), OwnLIF(threshold=0.3), nn.Linear(20, 3)).double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, generator=generator)
        images = torch.rand(8, 6, dtype=torch.float64, generator=generator)
        create_method("rate_m", 2).step(model, images, torch.arange(8) % 3)
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    expected = step(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(step, range(8)):
            assert all(map(torch.equal, found, expected))
