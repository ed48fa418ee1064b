"""Rate-based gradients against exact BPTT where the two must agree, and their size where they need not."""

import copy

import pytest
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.spiking import LIF

RESETS = {
    "soft, detached": {"reset": "soft", "detach_reset": True},
    "soft, not detached": {"reset": "soft", "detach_reset": False},
    "hard, detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": True},
    "hard, not detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": False},
}
LABELS = torch.tensor([0, 1, 2, 0, 1])


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x) + x


def images(timesteps, static):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(timesteps, 5, 2, 8, 8, generator=generator, dtype=torch.float64)
    return x[0] if static else x


def spiking(**reset):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(**reset), nn.MaxPool2d(2),
        Residual(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), LIF(**reset)), nn.Dropout2d(0.2),
        nn.Conv2d(6, 6, 3, stride=2), nn.BatchNorm2d(6, affine=False), LIF(**reset), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 4), nn.BatchNorm1d(4), LIF(**reset), nn.Dropout(0.2), nn.Linear(4, 3),
    ).double()  # fmt: skip


def without_neurons(norm):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), norm(6), nn.AvgPool2d(2),
        Residual(nn.Conv2d(6, 6, 3, padding=1), norm(6)),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    ).double()  # fmt: skip


def gradients(model, method, timesteps, inputs, **settings):
    """Of a copy of the model, by parameter name; dropout draws the same masks every time."""
    model = copy.deepcopy(model)
    torch.manual_seed(2)
    create_method(method, timesteps, **settings).step(model, inputs, LABELS)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def agree(left, right, names=None):
    assert left.keys() == right.keys()
    assert max(gradient.abs().max() for gradient in left.values()) > 1e-3
    for name in names or left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-9, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("loss_scale", ["1/T", "1"])
@pytest.mark.parametrize("static", [True, False], ids=["static", "with time"])
@pytest.mark.parametrize("reset", RESETS)
def test_with_one_timestep_rate_m_is_bptt(reset, static, loss_scale):
    """Max pooling, dropout, batch norm with and without weights, 1d and 2d, and a residual sum included."""
    model = spiking(**RESETS[reset])
    inputs = images(1, static)
    agree(gradients(model, "rate_m", 1, inputs, loss_scale=loss_scale), gradients(model, "bptt", 1, inputs))


@pytest.mark.parametrize("timesteps", [1, 2, 5])
def test_without_neurons_rate_m_is_bptt_for_a_static_image(timesteps):
    model = without_neurons(nn.BatchNorm2d)
    inputs = images(1, static=True)
    agree(gradients(model, "rate_m", timesteps, inputs, loss_scale="1"), gradients(model, "bptt", timesteps, inputs))


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize("norm", ["none", "evaluation"])
def test_without_neurons_rate_m_is_bptt_for_a_varying_input_where_the_network_is_linear(norm, timesteps):
    model = without_neurons(nn.Identity if norm == "none" else nn.BatchNorm2d)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.eval()
    inputs = images(timesteps, static=False)
    agree(gradients(model, "rate_m", timesteps, inputs, loss_scale="1"), gradients(model, "bptt", timesteps, inputs))


@pytest.mark.parametrize("timesteps", [2, 5])
def test_without_neurons_the_parameters_from_the_last_training_batch_norm_on_get_the_bptt_gradient(timesteps):
    """Weights before it do not when the input varies: the backward of the statistics correlates with it in time."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3), nn.Flatten(), nn.Linear(96, 3))
    inputs = images(timesteps, static=False)
    rate = gradients(model.double(), "rate_m", timesteps, inputs, loss_scale="1")
    exact = gradients(model, "bptt", timesteps, inputs)
    agree(rate, exact, ["1.weight", "1.bias", "2.weight", "2.bias", "4.weight", "4.bias"])
    assert not torch.allclose(rate["0.weight"], exact["0.weight"], rtol=1e-3)


@pytest.mark.parametrize("method", ["bptt", "rate_m"])
def test_a_static_image_gives_the_gradient_and_the_statistics_of_its_repetition(method):
    model = spiking(detach_reset=False)
    image = images(1, static=True)
    once, repeated = copy.deepcopy(model), copy.deepcopy(model)
    outputs = []
    for network, inputs in ((once, image), (repeated, image.repeat(4, 1, 1, 1, 1))):
        torch.manual_seed(2)
        outputs.append(create_method(method, 4).step(network, inputs, LABELS))
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(once.state_dict(), repeated.state_dict(), rtol=1e-10, atol=1e-10)
    agree(*({name: p.grad for name, p in network.named_parameters()} for network in (once, repeated)))


@pytest.mark.parametrize(("loss_scale", "expected"), [("1/T", 0.25), ("1", 1.0)])
def test_the_gradient_has_the_size_that_the_loss_scale_promises(loss_scale, expected):
    """He weights, so that the layers fire sensibly."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=3, in_channels=2)
    inputs = torch.randn(5, 2, 8, 8)
    rate = gradients(model, "rate_m", 4, inputs, loss_scale=loss_scale)
    exact = gradients(model, "bptt", 4, inputs)
    flat_rate, flat_exact = (torch.cat([g.flatten() for g in grads.values()]) for grads in (rate, exact))
    assert (flat_rate.norm() / flat_exact.norm()).item() == pytest.approx(expected, rel=0.15)
    assert torch.cosine_similarity(flat_rate, flat_exact, dim=0) > 0.85


@pytest.mark.parametrize("frozen", [0, 1, 4, 7, -1])
@pytest.mark.parametrize("method", ["bptt", "rate_m"])
def test_a_frozen_layer_gets_no_gradient_and_the_others_keep_theirs(method, frozen):
    model = spiking()
    expected = gradients(model, method, 3, images(3, static=False))
    layer = model[frozen]
    layer.requires_grad_(False)
    found = gradients(model, method, 3, images(3, static=False))
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, gradient in found.items():
        assert (gradient is not None) == (name in names), name
        if name in names:
            torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["bptt", "rate_m"])
def test_the_memory_layout_of_the_weights_changes_no_gradient(method):
    model, inputs = spiking(), images(3, static=False)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    agree(gradients(last, method, 3, inputs), gradients(model, method, 3, inputs))
