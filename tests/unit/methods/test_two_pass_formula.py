"""The one-pass gradient compared with the published two-pass formula, written in plain autograd on a small network.

The first pass runs the T·B batch without a graph and keeps each neuron's rate r̄ and eligibility g and each batch
norm's statistics. The second runs the mean input [B, …] with r = r̄.detach() + (c·g) − (c·g).detach() for every neuron.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

DECAY, THRESHOLD, ALPHA = 0.4, 0.9, 3.0
RESETS = {
    "soft, detached": {"reset": "soft", "detach_reset": True},
    "soft, not detached": {"reset": "soft", "detach_reset": False},
    "hard, detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": True},
    "hard, not detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": False},
}


class Small(nn.Module):
    """conv-BN-LIF, a residual block, average pool, linear; the shortcut is the block's input itself."""

    def __init__(self, reset, affine=True):
        super().__init__()

        def cell():
            return LIF(DECAY, THRESHOLD, surrogate="sigmoid", surrogate_args={"alpha": ALPHA}, **reset)

        self.conv1, self.bn1, self.lif1 = nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5, affine=affine), cell()
        self.conv2, self.bn2, self.lif2 = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5, affine=affine), cell()
        self.conv3, self.bn3, self.lif3 = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5, affine=affine), cell()
        self.pool, self.flatten, self.head = nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5 * 9, 3)

    def forward(self, x):
        x = self.lif1(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.lif2(self.bn2(self.conv2(x)))))
        return self.head(self.flatten(self.pool(self.lif3(out + x))))


def plain_forward(model, x, norm, fire):
    """The same network on plain tensors, with batch norm and neurons by number."""

    def conv(number, inputs):
        layer = getattr(model, f"conv{number}")
        return F.conv2d(inputs, layer.weight, layer.bias, padding=1)

    x = fire(1, norm(1, conv(1, x)))
    out = norm(3, conv(3, fire(2, norm(2, conv(2, x)))))
    x = F.avg_pool2d(fire(3, out + x), 2)
    return x.flatten(1) @ model.head.weight.T + model.head.bias


def channels(values):
    return values.reshape(1, -1, 1, 1)


def affine(model, number, normalised):
    layer = getattr(model, f"bn{number}")
    return normalised if layer.weight is None else channels(layer.weight) * normalised + channels(layer.bias)


def first_pass(model, inputs, reset):
    """The logits [T, B, C], the statistics of each batch norm and (r̄, g) of each neuron."""
    timesteps = len(inputs)
    statistics, neurons = {}, {}

    def norm(number, x):
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        statistics[number] = mean, variance
        layer = getattr(model, f"bn{number}")
        return affine(model, number, (x - channels(mean)) / torch.sqrt(channels(variance) + layer.eps))

    def fire(number, x):
        spikes, g = leaky_integrate_and_fire(x.unflatten(0, (timesteps, -1)), reset)
        neurons[number] = spikes.mean(0), g
        return spikes.flatten(0, 1)

    with torch.no_grad():
        logits = plain_forward(model, inputs.flatten(0, 1), norm, fire)
    return logits.unflatten(0, (timesteps, -1)), statistics, neurons


def leaky_integrate_and_fire(currents, reset):
    hard, detached = reset["reset"] == "hard", reset["detach_reset"]
    rest = reset.get("v_reset", 0.0)
    v = torch.full_like(currents[0], rest)
    rho, total, spikes = torch.ones_like(v), torch.zeros_like(v), []
    for current in currents:
        u = rest + DECAY * (v - rest) + current
        s = (u >= THRESHOLD).to(u)
        sigma = torch.sigmoid(ALPHA * (u - THRESHOLD))
        slope = ALPHA * sigma * (1 - sigma)
        total = total + slope * rho
        if hard:
            kept = DECAY * (1 - s) - (0.0 if detached else DECAY * (u - rest) * slope)
            v = (1 - s) * u + s * rest
        else:
            kept = torch.full_like(u, DECAY) if detached else DECAY * (1 - THRESHOLD * slope)
            v = u - THRESHOLD * s
        rho = 1 + rho * kept
        spikes.append(s)
    return torch.stack(spikes), total / len(currents)


def second_pass(model, mean_input, statistics, neurons):
    """The logits at the rates, with the graph of the two-pass formula."""

    def norm(number, r):
        mean, variance = statistics[number]
        layer = getattr(model, f"bn{number}")
        # The statistics keep their values, and their derivatives are those of the mean and variance of r. This makes
        # the backward the ordinary one of batch norm, because the mean over time of x has the mean of r.
        mean = channels(mean)
        mean_of_r = r.mean((0, 2, 3), keepdim=True)
        spread_of_r = ((r - mean) ** 2).mean((0, 2, 3), keepdim=True)
        moving_mean = mean + mean_of_r - mean_of_r.detach()
        moving_variance = channels(variance) + spread_of_r - spread_of_r.detach()
        return affine(model, number, (r - moving_mean) / torch.sqrt(moving_variance + layer.eps))

    def fire(number, c):
        rate, g = neurons[number]
        return rate.detach() + (c * g) - (c * g).detach()

    return plain_forward(model, mean_input, norm, fire)


def problem(timesteps, static):
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(timesteps, 6, 2, 6, 6, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return (images[0] if static else images), labels


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "no affine"])
@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("reset", RESETS)
def test_one_pass_gradient_equals_the_two_pass_formula(reset, static, affine):
    timesteps = 4
    torch.manual_seed(0)
    model = Small(RESETS[reset], affine).double()
    images, labels = problem(timesteps, static)
    inputs = images.expand(timesteps, *images.shape) if static else images

    output = create_method("rate_m", timesteps).step(model, images, labels)
    one_pass = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    logits, statistics, neurons = first_pass(model, inputs, RESETS[reset])
    assert all(0.02 < rate.mean() < 0.98 for rate, _ in neurons.values()), "a network that hardly fires proves nothing"
    rate_logits = second_pass(model, inputs.mean(0), statistics, neurons)
    loss = F.cross_entropy(rate_logits, labels)
    two_pass = torch.autograd.grad(loss / timesteps, list(model.parameters()))

    torch.testing.assert_close(rate_logits.detach(), logits.mean(0), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output.logits, logits.mean(0), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output.loss, loss.detach(), rtol=1e-10, atol=1e-10)
    for (name, gradient), expected in zip(one_pass.items(), two_pass, strict=True):
        # The gradient of a convolution's bias before batch norm is only rounding.
        assert expected.abs().max() > 1e-6 or name in ("conv1.bias", "conv2.bias", "conv3.bias"), name
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def test_loss_scale_one_gives_t_times_the_gradient_of_the_default():
    images, labels = problem(4, static=False)
    gradients = {}
    for settings in ({}, {"loss_scale": "1/T"}, {"loss_scale": "1"}):
        torch.manual_seed(0)
        model = Small(RESETS["soft, detached"]).double()
        create_method("rate_m", 4, **settings).step(model, images, labels)
        gradients[str(settings)] = model.conv1.weight.grad
    default, scaled, natural = gradients.values()
    assert torch.equal(default, scaled)
    torch.testing.assert_close(4 * default, natural, rtol=1e-12, atol=1e-14)
