"""The errors of what rate-based backpropagation assumes, against a computation in plain torch and autograd."""

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.gradient_fidelity import REFERENCE, gradient_fidelity
from rbp_engine.spiking import LIF
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.synchronised_batch_norm import synchronise_batch_norm
from tests.fuzz.oracles import gradient

T, BATCH, DECAY = 4, 6, 0.4


class Residual(nn.Module):
    """A block with a shortcut; one neuron module is used twice, and one convolution is, too."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 5, 3, padding=1, stride=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(5)
        self.neurons = LIF(decay=DECAY)
        self.conv = nn.Conv2d(5, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.out = nn.Linear(5 * 16, 4)

    def forward(self, x):
        x = self.neurons(self.stem_norm(self.stem(x)))
        x = self.neurons(self.norm(self.conv(x)) + x)
        return self.out(self.conv(x).flatten(1))


def batch(*, static):
    draw = torch.Generator().manual_seed(2)
    shape = (BATCH, 2, 8, 8) if static else (T, BATCH, 2, 8, 8)
    return 2.0 * torch.rand(shape, generator=draw, dtype=torch.float64), torch.arange(BATCH) % 4


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = Residual().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(15):
        optimizer.zero_grad()
        create_method("rate_m", T).step(model, *batch(static=True))
        optimizer.step()
    return model


@dataclass
class Plain:
    """The network above, written out in time; it keeps what the errors are made of."""

    model: Residual
    through_steps: bool  # batch norm over all timesteps
    weighted: list[tuple[str, list[Tensor], list[Tensor]]] = field(default_factory=list)
    fired: list[tuple[list[Tensor], list[Tensor]]] = field(default_factory=list)

    def weight(self, name, x):
        module = getattr(self.model, name)
        out = [module(x_t) for x_t in x]
        self.weighted.append((name, x, out))
        return out

    def normalised(self, name, x):
        module, stacked = getattr(self.model, name), torch.stack(x)
        dims = (0, 1, 3, 4) if self.through_steps else (1, 3, 4)
        mean, var = stacked.mean(dims, keepdim=True), stacked.var(dims, unbiased=False, keepdim=True)
        scale, shift = module.weight.view(-1, 1, 1), module.bias.view(-1, 1, 1)
        return list((stacked - mean) / (var + module.eps).sqrt() * scale + shift)

    def fire(self, currents):
        v = torch.zeros_like(currents[0])
        spikes, terms, rho = [], [], 1.0
        for current in currents:
            u = DECAY * v + current
            spikes.append(self.model.neurons.surrogate(u - 1.0))
            terms.append(gradient(self.model.neurons.surrogate, u - 1.0) * rho)
            v = u - spikes[-1].detach()
            rho = 1.0 + DECAY * rho
        self.fired.append((spikes, terms))
        return spikes

    def loss(self, images, labels):
        x = self.fire(self.normalised("stem_norm", self.weight("stem", images)))
        y = self.normalised("norm", self.weight("conv", x))
        x = self.fire([a + b for a, b in zip(x, y, strict=True)])
        x = [x_t.flatten(1) for x_t in self.weight("conv", x)]
        return F.cross_entropy(torch.stack(self.weight("out", x)).mean(0), labels)


def outer(name, gradient, x):
    """∂L/∂c·xᵀ, summed over the batch, with the patches of a convolution unfolded by hand."""
    if name == "out":
        return gradient.T @ x
    patches = F.unfold(x, 3, padding=1, stride=2 if name == "stem" else 1)
    return torch.einsum("bol,bkl->ok", gradient.flatten(2), patches)


def plain_errors(model, images, labels, *, through_steps):
    """The neuron error, and the weight error by layer."""
    plain = Plain(model, through_steps)
    by_step = [images] * T if images.ndim == 4 else list(images)
    loss = plain.loss(by_step, labels)

    def gradients(tensors):
        return torch.stack(torch.autograd.grad(loss, tensors, retain_graph=True))

    difference = whole = 0.0
    for spikes, terms in plain.fired:
        delta, term = gradients(spikes), torch.stack(terms)
        together = (delta * term).mean(0)
        difference += (together - delta.mean(0) * term.mean(0)).square().sum().item()
        whole += together.square().sum().item()
    weights = {}
    for layer in ("stem", "conv", "out"):
        uses = [(gradients(out), torch.stack(x).detach()) for name, x, out in plain.weighted if name == layer]
        together = sum(outer(layer, g_t, x_t) / T for g, x in uses for g_t, x_t in zip(g, x, strict=True))
        apart = sum(outer(layer, g.mean(0), x.mean(0)) for g, x in uses)
        weights[layer] = ((together - apart).norm() / together.norm()).item()
    return (difference / whole) ** 0.5, weights


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
def test_the_errors_are_those_of_a_separate_computation(trained, method, static):
    images, labels = batch(static=static)
    found = gradient_fidelity(trained, create_method(method, T), images, labels)
    neurons, weights = plain_errors(trained, images, labels, through_steps=method == "rate_m")
    assert found.neuron_error["neurons"] == pytest.approx(neurons, rel=1e-6)
    assert 0.01 < neurons < 1.0
    for name, error in weights.items():
        assert found.weight_error[name] == pytest.approx(error, rel=1e-6, abs=1e-6), name
    assert (weights["stem"] < 1e-12) == static and 0.01 < weights["conv"] < 1.0


def errors(found):
    return [*found.neuron_error.values(), *found.weight_error.values()]


@pytest.mark.parametrize("method", METHODS)
def test_the_errors_belong_to_the_network_and_not_to_the_method(trained, method):
    """They are those of the reference with the method's batch statistics."""
    found = gradient_fidelity(trained, create_method(method, T), *batch(static=True))
    expected = gradient_fidelity(trained, create_method(REFERENCE[method], T), *batch(static=True))
    assert errors(found) == errors(expected)


def test_what_cannot_be_measured_is_none():
    class Own(nn.Module):
        """A weight that is no convolution's or linear layer's."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 32))

        def forward(self, x):
            return F.linear(x, self.weight)

    class WithSpares(nn.Module):
        def __init__(self):
            super().__init__()
            frozen = nn.Conv2d(2, 2, 3, stride=2, bias=False).requires_grad_(False)
            frozen.weight.fill_(0.05)  # some neurons fire
            self.used = nn.Sequential(frozen, LIF(), nn.Flatten(), nn.Linear(18, 32), LIF(), Own())
            self.spare = nn.Sequential(LIF(), nn.Linear(2, 2))

        def forward(self, x):
            return self.used(x)

    torch.manual_seed(0)
    model = WithSpares().double()
    for method in ("rate_m", "sltt"):
        found = gradient_fidelity(model, create_method(method, T), *batch(static=True))
        assert list(found.neuron_error) == ["used.1", "used.4", "spare.0"]
        assert found.neuron_error["used.1"] is None  # BPTT needs no gradient there
        assert found.neuron_error["spare.0"] is None and (found.neuron_error["used.4"] or 0.0) > 0.0
        assert {name: error is None for name, error in found.weight_error.items()} == {
            "used.0": True, "used.3": False, "used.5": True, "spare.1": True,
        }  # fmt: skip
        assert found.by_weight["used.5"].cosine is not None and found.by_weight["spare.1"].cosine is None


@pytest.mark.parametrize("conv", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_convolutions_of_every_dimension_have_an_error(conv):
    torch.manual_seed(0)
    shape = {nn.Conv1d: (8,), nn.Conv2d: (4, 2), nn.Conv3d: (2, 2, 2)}[conv]
    layers = nn.Flatten(1), nn.Linear(128, 40), LIF(), nn.Unflatten(1, (5, *shape)), conv(5, 5, 1), LIF()
    model = nn.Sequential(*layers, nn.Flatten(1), nn.Linear(40, 4)).double()
    found = gradient_fidelity(model, create_method("rate_m", T), *batch(static=True))
    assert 0.001 < (found.weight_error["4"] or 0.0) < 1.0
    found = gradient_fidelity(model, create_method("rate_m", 1), *batch(static=True))
    assert (found.weight_error["4"] or 0.0) < 1e-12


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(("reset", "v_reset"), [("soft", 0.0), ("hard", 0.0), ("hard", -0.3)])
def test_gradients_through_time_add_up_to_those_of_the_terms(reset, v_reset, detach):
    draw = torch.Generator().manual_seed(4)
    currents, delta = torch.rand((2, 5, 3, 40), generator=draw, dtype=torch.float64) * 2.0
    parameters = LIF(reset=reset, v_reset=v_reset, detach_reset=detach, decay=0.7).neurons
    loop = parameters.rate_loop(Current.of(currents), len(currents))
    terms = torch.stack([loop.observed(current).eligibility for current in currents])
    expected = parameters.gradient_through_time(Current.of(currents), delta)[0].sum(0)
    assert torch.allclose((delta * terms).sum(0), expected, rtol=1e-12)
    assert torch.allclose(terms.mean(0), parameters.rate(Current.of(currents)).derivatives[0], rtol=1e-12)


def test_batch_norm_over_processes_waits_for_none_of_them(trained):
    method = create_method("rate_m", T)
    alone = gradient_fidelity(trained, method, *batch(static=True))
    model = Residual().double()
    model.load_state_dict(trained.state_dict())
    synchronise_batch_norm(model, "a group that is not there")
    assert gradient_fidelity(model, method, *batch(static=True)) == alone
    assert len(model.norm._forward_pre_hooks) == 1
