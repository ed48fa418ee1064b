"""rate_S compared with its formula in plain autograd: T separate steps, then one pass over their means.

The first phase runs the T steps one after another without a graph. It keeps each neuron's rate r̄ and eligibility g,
each batch norm's mean output, mean μ_t and mean 1/√(var_t + ε), and each max pool's mean output. The second runs the
mean input [B, …] with r = r̄ + (c·g) − (c·g).detach() for every neuron.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

T, B = 4, 6
DECAY, ALPHA = 0.4, 3.0
# Thresholds at which some but not all neurons fire behind either pool.
THRESHOLDS = {"average": 0.5, "max": 0.9}
EPS = 1e-3
RESETS = {
    "soft, detached": {"reset": "soft", "detach_reset": True},
    "soft, not detached": {"reset": "soft", "detach_reset": False},
    "hard, detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": True},
    "hard, not detached": {"reset": "hard", "v_reset": -0.2, "detach_reset": False},
}
POOLS = {"average": (nn.AvgPool2d, F.avg_pool2d), "max": (nn.MaxPool2d, F.max_pool2d)}
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Small(nn.Module):
    """A pool on currents, a residual block between neurons, a pool on spikes, linear and batch norm at the end."""

    def __init__(self, reset, pool, affine):
        super().__init__()

        def cell():
            return LIF(DECAY, THRESHOLDS[pool], surrogate="sigmoid", surrogate_args={"alpha": ALPHA}, **reset)

        def norm():
            return nn.BatchNorm2d(5, affine=affine, eps=EPS)

        self.conv1, self.bn1, self.lif1 = nn.Conv2d(2, 5, 3, padding=1), norm(), cell()
        self.conv2, self.bn2, self.lif2 = nn.Conv2d(5, 5, 3, padding=1), norm(), cell()
        self.conv3, self.bn3, self.lif3 = nn.Conv2d(5, 5, 3, padding=1), norm(), cell()
        self.pool1, self.pool2, self.flatten = POOLS[pool][0](2), POOLS[pool][0](2), nn.Flatten()
        self.head, self.bn4 = nn.Linear(5 * 4, 3), nn.BatchNorm1d(3, affine=affine, eps=EPS)
        for layer in (self.bn1, self.bn2, self.bn3, self.bn4):
            if affine:
                nn.init.uniform_(layer.weight, 0.5, 2.0)
                nn.init.normal_(layer.bias, 0.3, 0.3)

    def forward(self, x):
        x = self.lif1(self.pool1(self.bn1(self.conv1(x))))
        out = self.bn3(self.conv3(self.lif2(self.bn2(self.conv2(x)))))
        return self.bn4(self.head(self.flatten(self.pool2(self.lif3(out + x)))))


def plain_forward(model, x, norm, fire, pool):
    """The same network on plain tensors, with batch norms, neurons and pools by number."""

    def conv(number, inputs):
        layer = getattr(model, f"conv{number}")
        return F.conv2d(inputs, layer.weight, layer.bias, padding=1)

    x = fire(1, pool(1, norm(1, conv(1, x))))
    out = norm(3, conv(3, fire(2, norm(2, conv(2, x)))))
    x = pool(2, fire(3, out + x))
    return norm(4, x.flatten(1) @ model.head.weight.T + model.head.bias)


def channels(values, like):
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def over(x):
    """The dimensions that a batch norm averages over."""
    return [dim for dim in range(x.ndim) if dim != 1]


def affine_map(model, number, normalised):
    layer = getattr(model, f"bn{number}")
    if layer.weight is None:
        return normalised
    return channels(layer.weight, normalised) * normalised + channels(layer.bias, normalised)


class Neuron:
    """The equations of a neuron, one step at a time."""

    def __init__(self, reset, threshold):
        self.threshold = threshold
        self.hard, self.detached = reset["reset"] == "hard", reset["detach_reset"]
        self.rest = reset.get("v_reset", 0.0)
        self.v, self.rho, self.spikes, self.eligibilities = self.rest, 1.0, [], []

    def __call__(self, current):
        u = self.rest + DECAY * (self.v - self.rest) + current
        s = (u >= self.threshold).to(u)
        sigma = torch.sigmoid(ALPHA * (u - self.threshold))
        slope = ALPHA * sigma * (1 - sigma)
        self.eligibilities.append(slope * self.rho)
        if self.hard:
            kept = (1 - s) - (0.0 if self.detached else (u - self.rest) * slope)
            self.v = (1 - s) * u + s * self.rest
        else:
            kept = 1.0 - (0.0 if self.detached else self.threshold * slope)
            self.v = u - self.threshold * s
        self.rho = 1 + self.rho * DECAY * kept
        self.spikes.append(s)
        return s


def mean(values):
    return torch.stack(values).mean(0)


def first_phase(model, steps, reset, pool_name):
    """The logits of each step, (output, μ, 1/√(var + ε)) of each batch norm, the neurons, the outputs of the pools."""
    norms = {number: [] for number in (1, 2, 3, 4)}
    neurons = {number: Neuron(RESETS[reset], THRESHOLDS[pool_name]) for number in (1, 2, 3)}
    pools = {1: [], 2: []}
    pooling = POOLS[pool_name][1]

    def norm(number, x):
        average, variance = x.mean(over(x)), x.var(over(x), unbiased=False)
        inverse = 1.0 / torch.sqrt(variance + EPS)
        out = affine_map(model, number, (x - channels(average, x)) * channels(inverse, x))
        norms[number].append((out, average, inverse))
        return out

    def fire(number, x):
        return neurons[number](x)

    def pool(number, x):
        pools[number].append(pooling(x, 2))
        return pools[number][-1]

    with torch.no_grad():
        logits = [plain_forward(model, x, norm, fire, pool) for x in steps]
    return logits, norms, neurons, pools


def second_phase(model, mean_input, norms, neurons, pools, pooling):
    """The logits at the means, with the graph of the formula."""

    def with_value(graph, value):
        return value + (graph - graph.detach())

    def norm(number, r):
        value, average, inverse = (mean(values) for values in zip(*norms[number], strict=True))
        # The statistics have these values and the derivatives of the mean and variance of r, as in batch norm's
        # backward.
        average = channels(average, r)
        mean_of_r = r.mean(over(r), keepdim=True)
        spread_of_r = ((r - average) ** 2).mean(over(r), keepdim=True)
        moving_mean = with_value(mean_of_r, average)
        moving_variance = with_value(spread_of_r, channels(inverse, r) ** -2)
        return with_value(affine_map(model, number, (r - moving_mean) / torch.sqrt(moving_variance)), value)

    def fire(number, c):
        return with_value(c * mean(neurons[number].eligibilities), mean(neurons[number].spikes))

    def pool(number, r):
        return with_value(pooling(r, 2), mean(pools[number]))

    return plain_forward(model, mean_input, norm, fire, pool)


def problem(reset, pool="average", affine=True, static=False):
    torch.manual_seed(0)
    model = Small(RESETS[reset], pool, affine).double()
    # Steps of different size and mean, so that each has different statistics.
    images = torch.randn(T, B, 2, 8, 8, dtype=torch.float64) * torch.linspace(0.5, 2.0, T).reshape(T, 1, 1, 1, 1)
    return model, images[0] if static else images


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "no affine"])
@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("reset", RESETS)
def test_rate_s_gradient_equals_the_two_phase_formula(reset, pool, static, affine):
    model, images = problem(reset, pool, affine, static)
    steps = images.expand(T, *images.shape) if static else images

    output = create_method("rate_s", T).step(model, images, LABELS)
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    logits, norms, neurons, pools = first_phase(model, steps, reset, pool)
    assert all(0.02 < mean(neuron.spikes).mean() < 0.98 for neuron in neurons.values())
    rate_logits = second_phase(model, steps.mean(0), norms, neurons, pools, POOLS[pool][1])
    loss = F.cross_entropy(rate_logits, LABELS)
    expected = torch.autograd.grad(loss / T, list(model.parameters()))

    torch.testing.assert_close(rate_logits.detach(), mean(logits), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output.logits, mean(logits), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output.loss, loss.detach(), rtol=1e-10, atol=1e-10)
    for (name, gradient), wanted in zip(found.items(), expected, strict=True):
        # The gradient of a bias before batch norm is only rounding.
        assert wanted.abs().max() > 1e-6 or name in ("conv1.bias", "conv2.bias", "conv3.bias", "head.bias"), name
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("fault", ["the last step's statistics", "the mean variance", "the last frame"])
def test_wrong_variants_of_the_formula_give_another_gradient(fault):
    """Otherwise the agreement above would prove nothing."""
    model, images = problem("soft, detached")
    create_method("rate_s", T).step(model, images, LABELS)
    _, norms, neurons, pools = first_phase(model, images, "soft, detached", "average")
    mean_input = images[-1] if fault == "the last frame" else images.mean(0)
    for number, steps in norms.items():
        outputs, averages, inverses = zip(*steps, strict=True)
        if fault == "the last step's statistics":
            norms[number] = [(out, averages[-1], inverses[-1]) for out in outputs]
        elif fault == "the mean variance":
            inverse = mean([inverse**-2 for inverse in inverses]) ** -0.5
            norms[number] = [(*pair, inverse) for pair in zip(outputs, averages, strict=True)]
    loss = F.cross_entropy(second_phase(model, mean_input, norms, neurons, pools, F.avg_pool2d), LABELS)
    (wrong,) = torch.autograd.grad(loss / T, model.conv1.weight)
    assert (wrong - model.conv1.weight.grad).norm() > 1e-3 * wrong.norm()


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
def test_running_statistics_equal_those_of_a_plain_forward_step_by_step(static):
    model, images = problem("soft, detached", static=static)
    plain = copy.deepcopy(model)
    create_method("rate_s", T).step(model, images, LABELS)
    with torch.no_grad():
        for x in images.expand(T, *images.shape) if static else images:
            plain(x)
    torch.testing.assert_close(dict(model.named_buffers()), dict(plain.named_buffers()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("reset", RESETS)
def test_a_static_image_gives_the_same_as_its_repetition(reset, pool):
    model, image = problem(reset, pool, static=True)
    other = copy.deepcopy(model)
    found = create_method("rate_s", T).step(model, image, LABELS)
    expected = create_method("rate_s", T).step(other, image.repeat(T, 1, 1, 1, 1), LABELS)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=1e-12, atol=1e-12)
    for parameter, wanted in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, wanted.grad, rtol=1e-10, atol=1e-12)
