"""The share of a teacher in the loss of every method, against its formula in plain torch."""

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, Distillation, Loss, create_method
from rbp_engine.probes.gradient_fidelity import gradient_fidelity
from rbp_engine.spiking import LIF

T, B, C = 3, 5, 3
LABELS = torch.tensor([0, 1, 2, 0, 1])
WEIGHT, TEMPERATURE = 0.7, 2.5


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), LIF(), nn.Linear(8, 8), LIF(), nn.Linear(8, C)).double()
    for layer in model[::2]:
        nn.init.normal_(layer.weight, 0.2, 0.7)
    return model


def images():
    return torch.randn(B, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def teacher(x):
    weight = torch.randn(6, C, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return 3.0 * x @ weight


def by_formula(logits, labels):
    p = torch.softmax(teacher(images()) / TEMPERATURE, 1)
    q = torch.softmax(logits / TEMPERATURE, 1)
    divergence = (p * (p / q).log()).sum() / B
    entropy = -torch.log_softmax(logits, 1)[torch.arange(B), labels].mean()
    return (1 - WEIGHT) * entropy + WEIGHT * TEMPERATURE**2 * divergence


def step(name, **settings):
    model = network()
    out = create_method(name, T, **settings).step(model, images(), LABELS, 0.5)
    return [out.loss, out.logits, *(weight.grad for weight in model.parameters())]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_the_gradient_of_hintons_loss(name):
    found = step(name, distill=Distillation(teacher, WEIGHT, TEMPERATURE))
    torch.testing.assert_close(found, step(name, loss=by_formula), rtol=1e-11, atol=1e-13)
    assert not torch.allclose(found[2], step(name)[2])


@pytest.mark.parametrize("name", ["bptt", "bptt_s"])
def test_with_tet_the_teacher_is_that_of_every_timestep(name):
    model = network()
    distill = Distillation(teacher, WEIGHT, TEMPERATURE)
    out = create_method(name, T, loss=Loss("tet"), distill=distill).step(model, images(), LABELS)
    steps = create_method(name, T).predict(model, images())
    torch.testing.assert_close(out.loss, sum(by_formula(logits, LABELS) for logits in steps) / T)


def test_a_teacher_sees_the_batch_as_it_is_and_has_no_graph():
    seen = []
    large = nn.Linear(6, C).double()

    def watched(x):
        seen.append((x, torch.is_grad_enabled()))
        return large(x)

    x = images()
    create_method("rate_s", T, distill=Distillation(watched)).step(network(), x, LABELS)
    [(given, grad)] = seen
    assert given is x and not grad
    assert large.weight.grad is None


def test_a_spiking_network_can_be_the_teacher_and_a_perfect_student_has_no_loss():
    model, method = network(), create_method("bptt", T)
    distill = Distillation(lambda x: method.predict(model, x).mean(0), weight=1.0)
    out = create_method("rate_m", T, distill=distill).step(model, images(), LABELS)
    assert out.loss.abs() < 1e-12
    assert all(weight.grad.abs().max() < 1e-12 for weight in model.parameters())


def test_fidelity_compares_gradients_of_the_whole_loss():
    loss, distill = {"loss": Loss("mse")}, {"distill": Distillation(teacher, 0.5, TEMPERATURE)}
    rate, bptt = (
        torch.cat([gradient.flatten() for gradient in step(name, **loss, **distill)[2:]]) for name in ("rate_m", "bptt")
    )
    found, *parts = (
        gradient_fidelity(network(), create_method("rate_m", T, **settings), images(), LABELS).whole.norm_ratio
        for settings in (loss | distill, loss, distill)
    )
    assert found == pytest.approx(float(T * rate.norm() / bptt.norm()), rel=1e-9)
    assert all(found != pytest.approx(part, rel=1e-6) for part in parts)


def test_a_teacher_of_other_classes_is_named():
    with pytest.raises(ValueError, match=r"the teacher gives \[5, 6\] logits for outputs \[5, 3\]"):
        step("bptt", distill=Distillation(lambda x: x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"weight": 0.0}, "above 0 and at most 1, got 0.0"), ({"temperature": 0.0}, "the temperature is above 0")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Distillation(teacher, **settings)
