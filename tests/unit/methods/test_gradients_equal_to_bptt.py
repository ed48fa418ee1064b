"""Rate-based gradients compared with exact BPTT: equal where they must be, of the right size elsewhere."""

import copy

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import create_model
from rbp_engine.spiking import LIF

RESETS = {
    "soft, detached": {"reset": "soft", "detach_reset": True},
    "soft, not detached": {"reset": "soft", "detach_reset": False},
    "hard, detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": True},
    "hard, not detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": False},
}
RATE = ("rate_m", "rate_s")
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
    """Max pooling, dropout, batch norm with and without weights, 1d and 2d, and a residual sum."""
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
    """The gradients of a copy of the model, by parameter name; dropout draws the same masks every time."""
    model = copy.deepcopy(model)
    torch.manual_seed(2)
    create_method(method, timesteps, **settings).step(model, inputs, LABELS)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def agree(left, right, names=None):
    assert left.keys() == right.keys()
    assert max(gradient.abs().max() for gradient in left.values()) > 1e-3
    for name in names or left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-9, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(("reset", "static"), [*((reset, True) for reset in RESETS), ("soft, detached", False)])
@pytest.mark.parametrize("method", METHODS)
def test_with_one_timestep_every_method_is_bptt(method, reset, static):
    model = spiking(**RESETS[reset])
    inputs = images(1, static)
    expected = gradients(model, "bptt", 1, inputs)
    for settings in ({"loss_scale": "1/T"}, {"loss_scale": "1"}) if method in RATE else ({},):
        agree(gradients(model, method, 1, inputs, **settings), expected)


@pytest.mark.parametrize("timesteps", [1, 2, 5])
@pytest.mark.parametrize("method", RATE)
def test_without_neurons_the_rate_methods_are_bptt_for_a_static_image(method, timesteps):
    model = without_neurons(nn.BatchNorm2d)
    inputs = images(1, static=True)
    agree(gradients(model, method, timesteps, inputs, loss_scale="1"), gradients(model, "bptt", timesteps, inputs))


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize("norm", ["none", "evaluation"])
@pytest.mark.parametrize("method", RATE)
def test_without_neurons_and_training_batch_norm_the_rate_methods_are_bptt_for_a_varying_input(method, norm, timesteps):
    model = without_neurons(nn.Identity if norm == "none" else nn.BatchNorm2d)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.eval()
    inputs = images(timesteps, static=False)
    agree(gradients(model, method, timesteps, inputs, loss_scale="1"), gradients(model, "bptt", timesteps, inputs))


@pytest.mark.parametrize(("loss_scale", "expected"), [("1/T", 0.25), ("1", 1.0)])
@pytest.mark.parametrize(("method", "oracle"), [("rate_m", "bptt"), ("rate_s", "bptt_s")])
def test_the_gradient_has_the_size_that_the_loss_scale_promises(method, oracle, loss_scale, expected):
    """He weights, so that the layers have reasonable firing rates."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=3, in_channels=2)
    inputs = torch.randn(5, 2, 8, 8)
    rate = gradients(model, method, 4, inputs, loss_scale=loss_scale)
    exact = gradients(model, oracle, 4, inputs)
    flat_rate, flat_exact = (torch.cat([g.flatten() for g in grads.values()]) for grads in (rate, exact))
    assert (flat_rate.norm() / flat_exact.norm()).item() == pytest.approx(expected, rel=0.15)
    assert torch.cosine_similarity(flat_rate, flat_exact, dim=0) > 0.85
