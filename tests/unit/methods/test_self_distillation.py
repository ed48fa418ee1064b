"""Heads on the firing rates of inner layers: loss and gradients against plain torch, and which modules can have one."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.errors import SettingsError
from rbp_engine.methods import METHODS, Loss, SelfDistillation, WithHeads, create_method, with_heads
from rbp_engine.spiking import LIF

B, C = 5, 3
LABELS = torch.tensor([0, 1, 2, 0, 1])
DECAY, THRESHOLD, ALPHA = 0.4, 0.6, 3.0
WEIGHT, DISTILL, TEMPERATURE = 0.7, 0.4, 2.5
SETTINGS = SelfDistillation(WEIGHT, DISTILL, TEMPERATURE)


def lif() -> LIF:
    return LIF(DECAY, THRESHOLD, surrogate_args={"alpha": ALPHA})


def dense() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), lif(), nn.Linear(8, 8), lif(), nn.Linear(8, C)).double()
    for layer in model[::2]:
        nn.init.normal_(layer.weight, 0.2, 0.7)
    return model


def convolutional(*, norms: bool = True) -> nn.Sequential:
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(4) if norms else nn.Identity()
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), lif()),
        nn.Sequential(nn.Conv2d(4, 4, 3), norm),
        nn.Sequential(lif(), nn.Flatten()),
        nn.Linear(16, C),
    ).double()


def images(*shape: int) -> Tensor:
    return 2 * torch.rand(B, *(shape or (6,)), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def headed(model: nn.Module, paths: list[str], x: Tensor, settings: SelfDistillation = SETTINGS) -> WithHeads:
    torch.manual_seed(3)
    found = with_heads(model, paths, settings, x)
    for head in found.heads:
        nn.init.normal_(head.weight, 0.0, 1.0)
    return found


def by_formula(own: Tensor, heads: list[Tensor], labels: Tensor = LABELS) -> Tensor:
    p = torch.softmax(own.detach() / TEMPERATURE, 1)
    right = (own.argmax(1) == labels).double()
    value = -torch.log_softmax(own, 1)[torch.arange(B), labels].mean()
    for head in heads:
        q = torch.softmax(head / TEMPERATURE, 1)
        distance = ((p * (p / q).log()).sum(1) * right).sum() / B
        value = value - WEIGHT * torch.log_softmax(head, 1)[torch.arange(B), labels].mean()
        value = value + DISTILL * TEMPERATURE**2 * distance
    return value


def steps_of_lif(currents: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The spikes of each timestep with the graph of BPTT, and the eligibility of the rate, mean_t σ'_t·e_t."""
    v, e, spikes, slopes = 0.0, 0.0, [], []
    for current in currents:
        u = DECAY * v + current
        soft = torch.sigmoid(ALPHA * (u - THRESHOLD))
        s = (u >= THRESHOLD).double() + soft - soft.detach()
        e = 1 + DECAY * e
        slopes.append(ALPHA * (soft * (1 - soft)).detach() * e)
        v = u - THRESHOLD * s.detach()
        spikes.append(s)
    return spikes, sum(slopes) / len(slopes)


def in_plain_torch(method: str, model: nn.Sequential, heads: list[nn.Linear], x: Tensor, timesteps: int) -> Tensor:
    """The loss of the dense network with heads on both neuron layers, with the graph of the method."""
    currents = [model[0](x)] * timesteps
    first, g1 = steps_of_lif(currents)
    second, g2 = steps_of_lif([model[2](s) for s in first])
    r1, r2 = sum(first) / timesteps, sum(second) / timesteps
    if method.startswith("rate"):
        c1 = model[0](x)
        r1 = r1.detach() + g1 * (c1 - c1.detach())
        c2 = model[2](r1)
        r2 = r2.detach() + g2 * (c2 - c2.detach())
    return by_formula(model[4](r2), [heads[0](r1), heads[1](r2)])


@pytest.mark.parametrize("timesteps", [1, 2, 5])
@pytest.mark.parametrize("method", ["rate_m", "rate_s", "bptt", "bptt_s"])
def test_the_gradients_are_those_of_the_formula_in_plain_torch_and_the_loss_is_the_networks_own(
    method: str, timesteps: int
) -> None:
    x = images()
    mine, plain = headed(dense(), ["1", "3"], x), headed(dense(), ["1", "3"], x)
    scale = {"loss_scale": "1"} if method.startswith("rate") else {}
    out = create_method(method, timesteps, **scale).step(mine, x, LABELS)
    expected = in_plain_torch(method, plain.network, list(plain.heads), x, timesteps)
    expected.backward()
    torch.testing.assert_close(out.loss, F.cross_entropy(out.logits, LABELS), rtol=1e-12, atol=0)
    for ours, theirs in zip(mine.parameters(), plain.parameters(), strict=True):
        assert theirs.grad is not None and theirs.grad.abs().max() > 1e-3
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-13)


class Explicit(nn.Module):
    """The same convolutional network that computes its heads by itself, and returns all logits side by side."""

    def __init__(self, model: WithHeads) -> None:
        super().__init__()
        self.network, self.heads = model.network, model.heads

    def forward(self, x: Any) -> Any:
        logits = []
        for part, head in zip(self.network, [*self.heads, None], strict=True):
            x = part(x)
            if head is not None:
                logits.append(head(x.flatten(2).mean(-1) if x.ndim == 4 else x))
        return torch.cat([x, *logits], -1)


@pytest.mark.parametrize("method", METHODS)
def test_in_every_method_heads_are_a_part_of_the_network_like_any_other(method: str) -> None:
    """At the ends of blocks: after a neuron, a batch norm, and flatten; for static images and for events."""
    for shape in ((2, 6, 6), (3, B, 2, 6, 6)):
        x = images(2, 6, 6) if len(shape) == 3 else 2 * torch.rand(shape, dtype=torch.float64)
        mine, plain = (headed(convolutional(norms=method != "ottt"), ["0", "1", "2"], x) for _ in range(2))
        out = create_method(method, 3).step(mine, x, LABELS)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            own, *heads = logits.chunk(4, -1)
            return by_formula(own, heads, labels)

        expected = create_method(method, 3, loss=loss).step(Explicit(plain), x, LABELS)
        assert torch.equal(out.logits, expected.logits[:, :C])
        for ours, theirs in zip(mine.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-13)
        assert all(torch.equal(a, b) for a, b in zip(mine.buffers(), plain.buffers(), strict=True))


def test_at_one_timestep_all_methods_have_the_same_gradients() -> None:
    x = images(2, 6, 6)
    found = {}
    for method in METHODS:
        model = headed(convolutional(norms=False), ["0", "2"], x)
        create_method(method, 1).step(model, x, LABELS)
        found[method] = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    for method, gradient in found.items():
        torch.testing.assert_close(gradient, found["bptt"], rtol=1e-10, atol=1e-13, msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_heads_leave_the_network_and_its_evaluation_to_the_last_bit(method: str) -> None:
    x = images(2, 6, 6)
    alone, model = convolutional(norms=False), convolutional(norms=False)
    with_them = headed(model, ["0", "1"], x)
    assert alone.state_dict().keys() == model.state_dict().keys()
    trained = create_method(method, 2)
    for network in (alone, with_them):
        trained.step(network, x, LABELS)
    assert not torch.equal(alone[0][0].weight.grad, model[0][0].weight.grad)
    assert torch.equal(alone[3].weight.grad, model[3].weight.grad), "no head is behind the last layer"
    assert not any(module._forward_hooks for module in model.modules())
    expected = trained.predict(alone, x)
    assert torch.equal(trained.predict(model, x), expected) and torch.equal(trained.predict(with_them, x), expected)


def test_a_teacher_that_is_wrong_teaches_nothing() -> None:
    own = torch.eye(C, dtype=torch.float64)[LABELS] * 5
    heads = [torch.randn(B, C, dtype=torch.float64, requires_grad=True)]
    only_teacher = SelfDistillation(0.0, 1.0, TEMPERATURE)
    assert only_teacher(heads, own, LABELS) > 0
    assert only_teacher(heads, own, (LABELS + 1) % C) == 0
    half = torch.where(torch.arange(B) < 2, LABELS, (LABELS + 1) % C)
    both = [only_teacher([heads[0][part]], own[part], half[part]) for part in (slice(0, 2), slice(2, B))]
    torch.testing.assert_close(only_teacher(heads, own, half), 2 / B * both[0])
    assert both[1] == 0


def test_the_teacher_gets_no_gradient_from_the_heads() -> None:
    own = torch.randn(B, C, requires_grad=True)
    head = torch.randn(B, C, requires_grad=True)
    SETTINGS([head], own, own.argmax(1)).backward()
    assert own.grad is None and head.grad is not None and head.grad.abs().max() > 0


def test_of_mixed_labels_the_larger_share_decides_whether_the_teacher_is_right() -> None:
    own, head = torch.randn(2, C), torch.randn(2, C)
    own[:, 1] += 10
    mixed = torch.tensor([[0.3, 0.7, 0.0], [0.6, 0.4, 0.0]])
    found = SelfDistillation(0.0, 1.0)([head], own, mixed)
    torch.testing.assert_close(found, SelfDistillation(0.0, 1.0)([head], own, torch.tensor([1, 0])))
    found = SelfDistillation(1.0, 0.0)([head], own, mixed)
    torch.testing.assert_close(found, F.cross_entropy(head, mixed))


def test_heads_work_beside_a_loss_of_ones_own() -> None:
    x = images()

    def last_layer(paths: list[str]) -> tuple[Tensor, Tensor]:
        model = headed(dense(), paths, x)
        out = create_method("rate_m", 2, loss=lambda logits, labels: logits.square().mean()).step(model, x, LABELS)
        return out.loss, model.network[4].weight.grad

    for found, expected in zip(last_layer(["1"]), last_layer([]), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", ["bptt", "sltt"])
def test_a_loss_at_every_step_is_refused_with_heads(method: str) -> None:
    model = headed(dense(), ["1"], images())
    with pytest.raises(ValueError, match=r"heads learn from firing rates.*'tet'"):
        create_method(method, 2, loss=Loss("tet")).step(model, images(), LABELS)


def test_a_head_of_tokens_takes_the_mean_over_them() -> None:
    model = nn.Sequential(nn.Linear(6, 4), lif(), nn.Flatten(), nn.Linear(8, C)).double()
    x = images(2, 6)
    found = with_heads(model, ["1", "2"], SETTINGS, x, time=False)
    assert [head.in_features for head in found.heads] == [4, 8]
    create_method("rate_s", 2).step(found, x, LABELS, time=False)
    assert all(head.weight.grad is not None for head in found.heads)


class Odd(nn.Module):
    """Modules that can have no head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6)])
        self.fire, self.unused, self.pair = lif(), nn.Linear(6, 6), Pair()
        self.folded, self.out = Folded(), nn.Linear(6, C)

    def forward(self, x: Any) -> Any:
        return self.out(self.folded(self.pair(self.fire(self.fire(self.layers[0](x))))[0]).reshape(len(x), 6))


class Pair(nn.Module):
    def forward(self, x: Any) -> Any:
        return x, x


class Folded(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(2 * len(x), 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fier", "no module there. Did you mean 'fire'. Its parts: layers, fire"),
        ("", "no module there"),
        ("layers", "takes no part in a pass by itself"),
        ("unused", "takes no part in a pass by itself"),
        ("fire", "called more than once"),
        ("pair", "returns tuple"),
        ("folded", r"returns \[4, 3\] for 2 images"),
    ],
)
def test_modules_that_can_have_no_head_are_named(path: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"loss.heads names '{path}'.*{message}".replace("'. Its", r"'\? Its")):
        with_heads(Odd().double(), [path], SETTINGS, images())


def test_a_network_that_stops_calling_a_module_while_training_is_refused() -> None:
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = nn.Linear(6, 6), nn.Linear(6, C)

        def forward(self, x: Any) -> Any:
            return self.out(x if self.training else self.layer(x))

    model = headed(Fickle().double(), ["layer"], images())
    with pytest.raises(SettingsError, match="takes no part"):
        create_method("bptt", 2).step(model, images(), LABELS)


@pytest.mark.parametrize("values", [(-0.1, 1.0, 4.0), (0.0, 0.0, 4.0), (1.0, float("inf"), 4.0), (1.0, 1.0, 0.0)])
def test_settings_out_of_range_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"heads|temperature"):
        SelfDistillation(*values)


def test_the_size_of_a_head_is_found_without_a_trace_in_the_network() -> None:
    model, x = convolutional(), images(2, 6, 6)
    model[0].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    with_heads(model, ["0"], SETTINGS, x)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
