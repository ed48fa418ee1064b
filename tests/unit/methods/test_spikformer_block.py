"""A Spikformer block, by every method, compared with the method's equations in plain torch.

Attention without softmax (Zhou et al., ICLR 2023): q, k, v = LIF(BN(W·x)), then LIF((q·kᵀ)·v·scale), by heads. Both
products are of two activations. The block is written down a second time below, over operations that say what a neuron,
a batch norm and a product are: at each step, for the plain methods and the first pass of the rate methods; at the
means, for their second pass.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF

B, TOKENS, WIDTH, HEADS, CLASSES, SCALE = 4, 6, 8, 2, 3, 0.35
DECAY, THRESHOLD, ALPHA = 0.4, 0.6, 3.0
LABELS = torch.tensor([0, 1, 2, 0])
RATE_METHODS = ("rate_m", "rate_s")
NAMES = ("stem", "q", "k", "v", "project", "grow", "shrink")


class Layer(nn.Module):
    """Weights of all tokens, batch norm, neurons, from [B, C, N] to [B, C', N]."""

    def __init__(self, inputs, outputs, fires=True):
        super().__init__()
        self.weights, self.norm = nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs, eps=1e-3)
        self.fire = cell() if fires else nn.Identity()

    def forward(self, x):
        return self.fire(self.norm(self.weights(x)))


def cell():
    return LIF(DECAY, THRESHOLD, surrogate="sigmoid", surrogate_args={"alpha": ALPHA})


class Spikformer(nn.Module):
    """One block: attention and perceptron, each with its shortcut, behind a stem; [B, 3, N] to [B, classes]."""

    def __init__(self):
        super().__init__()
        self.stem = Layer(3, WIDTH)
        self.q, self.k, self.v, self.project = (Layer(WIDTH, WIDTH) for _ in range(4))
        self.grow, self.shrink = Layer(WIDTH, 2 * WIDTH), Layer(2 * WIDTH, WIDTH)
        self.attend, self.head = cell(), nn.Linear(WIDTH, CLASSES)

    def forward(self, images):
        x = self.stem(images.flatten(2))
        q, k, v = (layer(x).reshape(len(x), HEADS, WIDTH // HEADS, TOKENS) for layer in (self.q, self.k, self.v))
        scores = torch.einsum("bhcn,bhcm->bhnm", q, k)
        attended = torch.einsum("bhnm,bhcm->bhcn", scores, v) * SCALE
        x = x + self.project(self.attend(attended.reshape(len(x), WIDTH, TOKENS)))
        x = x + self.shrink(self.grow(x))
        return self.head(x.mean(2))


class ByOperator(Spikformer):
    """The same with @ where the shapes allow it."""

    def forward(self, images):
        x = self.stem(images.flatten(2))
        q, k, v = (layer(x).reshape(len(x), HEADS, WIDTH // HEADS, TOKENS) for layer in (self.q, self.k, self.v))
        # Keys and values first, which is the same without a softmax: v·(kᵀ·q).
        attended = v @ torch.einsum("bhcm,bhcn->bhmn", k, q) * SCALE
        x = x + self.project(self.attend(attended.reshape(len(x), WIDTH, TOKENS)))
        x = x + self.shrink(self.grow(x))
        return self.head(x.mean(2))


def in_plain_torch(model, images, operations):
    """The block over operations on whatever they take for a value."""

    def layer(name, x):
        module = getattr(model, name)
        x = operations.each(lambda x_t: torch.einsum("oi,bin->bon", module.weights.weight[:, :, 0], x_t), x)
        return operations.fire(name, operations.norm(name, module.norm, x))

    def heads(x):
        return operations.each(lambda x_t: x_t.reshape(B, HEADS, WIDTH // HEADS, TOKENS), x)

    x = layer("stem", operations.each(lambda x_t: x_t.flatten(2), images))
    q, k, v = (heads(layer(name, x)) for name in ("q", "k", "v"))
    scores = operations.product("scores", lambda a, b: (a.unsqueeze(-1) * b.unsqueeze(-2)).sum(2), q, k)
    attended = operations.product("attended", lambda a, b: (a.unsqueeze(2) * b.unsqueeze(3)).sum(-1), scores, v)
    current = operations.each(lambda x_t: x_t.reshape(B, WIDTH, TOKENS) * SCALE, attended)
    projected = layer("project", operations.fire("attend", current))
    x = operations.each(torch.add, x, projected)
    x = operations.each(torch.add, x, layer("shrink", layer("grow", x)))
    return operations.each(lambda x_t: x_t.mean(2) @ model.head.weight.T + model.head.bias, x)


class Steps:
    """A value is the list of its T steps [B, …]; what the second pass needs is noted by name."""

    def __init__(self, all_at_once, through_time=True):
        self.all_at_once, self.through_time = all_at_once, through_time
        self.rates, self.eligibilities, self.outputs, self.statistics = {}, {}, {}, {}

    def each(self, function, *values):
        return [function(*steps) for steps in zip(*values, strict=True)]

    def product(self, name, function, *values):
        self.outputs[name] = self.each(function, *values)
        return self.outputs[name]

    def norm(self, name, norm, x):
        groups = [torch.cat(x)] if self.all_at_once else x
        moments = [(g.mean((0, 2)), 1 / torch.sqrt(g.var((0, 2), unbiased=False) + norm.eps)) for g in groups]
        self.statistics[name] = tuple(torch.stack(of_groups).mean(0) for of_groups in zip(*moments, strict=True))
        moments = moments * len(x) if self.all_at_once else moments
        self.outputs[name] = [affine(norm, x_t, *each) for x_t, each in zip(x, moments, strict=True)]
        return self.outputs[name]

    def fire(self, name, currents):
        v, rho, spikes, reached = torch.zeros_like(currents[0]), 1.0, [], []
        for current in currents:
            u = DECAY * (v if self.through_time else v.detach()) + current
            sigma = torch.sigmoid(ALPHA * (u - THRESHOLD))
            s = (u >= THRESHOLD).to(u).detach() + sigma - sigma.detach()
            reached.append((ALPHA * sigma * (1 - sigma)).detach() * rho)
            rho = 1 + DECAY * rho
            v = u - THRESHOLD * s.detach()
            spikes.append(s)
        self.rates[name], self.eligibilities[name] = mean(spikes), mean(reached)
        return spikes


class Means:
    """A value is a time mean [B, …]: the second pass of the rate methods, after `first`."""

    def __init__(self, first):
        self.first = first

    def each(self, function, *values):
        return function(*values)

    def product(self, name, function, *values):
        return with_value(function(*values), mean(self.first.outputs[name]))

    def norm(self, name, norm, r):
        average, inverse = (values[:, None] for values in self.first.statistics[name])
        moving_mean = with_value(r.mean((0, 2), keepdim=True), average)
        moving_variance = with_value(((r - average) ** 2).mean((0, 2), keepdim=True), inverse**-2)
        out = affine(norm, r, moving_mean.flatten(), moving_variance.flatten() ** -0.5)
        return with_value(out, mean(self.first.outputs[name]))

    def fire(self, name, c):
        return with_value(c * self.first.eligibilities[name], self.first.rates[name])


def affine(norm, x, average, inverse):
    return norm.weight[:, None] * (x - average[:, None]) * inverse[:, None] + norm.bias[:, None]


def mean(steps):
    return torch.stack(list(steps)).mean(0)


def with_value(graph, value):
    return value.detach() + graph - graph.detach()


def expected_logits(model, method, steps):
    """The logits whose cross entropy has the gradient of the method, and the first pass."""
    if method in RATE_METHODS:
        with torch.no_grad():
            first = Steps(all_at_once=method == "rate_m")
            in_plain_torch(model, steps, first)
        return [in_plain_torch(model, mean(steps), Means(first))], first
    first = Steps(all_at_once=method == "bptt", through_time=method in ("bptt", "bptt_s"))
    logits = in_plain_torch(model, steps, first)
    return ([mean(logits)] if method in ("bptt", "bptt_s") else logits), first


def problem(timesteps, kind=Spikformer):
    torch.manual_seed(1)
    model = kind().double()
    for name in NAMES:
        nn.init.uniform_(getattr(model, name).norm.weight, 0.6, 1.6)
        nn.init.normal_(getattr(model, name).norm.bias, 0.3, 0.2)
    brightness = torch.linspace(0.5, 1.5, timesteps).reshape(-1, 1, 1, 1, 1)
    return model, torch.randn(timesteps, B, 3, 2, 3, dtype=torch.float64) * brightness


def step(method, model, images):
    settings = {"loss_scale": "1"} if method in RATE_METHODS else {}
    return create_method(method, len(images), **settings).step(model, images, LABELS)


@pytest.mark.parametrize("kind", [Spikformer, ByOperator])
@pytest.mark.parametrize("timesteps", [1, 4])
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"ottt"}))
def test_the_gradient_of_a_spikformer_block_is_that_of_the_methods_equations(method, timesteps, kind):
    model, images = problem(timesteps, kind)
    output = step(method, model, images)
    logits, first = expected_logits(model, method, list(images))
    assert all(0.05 < rate.mean() < 0.95 for rate in first.rates.values()), "silent neurons prove nothing"
    torch.testing.assert_close(output.logits, mean(logits).detach(), rtol=1e-10, atol=1e-10)
    objective = mean([F.cross_entropy(each, LABELS) for each in logits])
    expected = torch.autograd.grad(objective, list(model.parameters()))
    for (name, parameter), gradient in zip(model.named_parameters(), expected, strict=True):
        assert gradient.abs().max() > 1e-6, name
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


def test_all_methods_have_one_gradient_at_t_1():
    model, images = problem(1)
    gradients = {}
    for method in METHODS:
        own = copy.deepcopy(model)
        step(method, own, images)
        gradients[method] = torch.cat([parameter.grad.flatten() for parameter in own.parameters()])
    for method, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients["bptt"], rtol=1e-10, atol=1e-12, msg=lambda m, n=method: n + m)
