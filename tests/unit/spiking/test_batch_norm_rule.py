"""Batch norm where random networks (tests/fuzz) do not go: few values, a norm that is used three times."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import METHODS
from rbp_engine.spiking import RateTensor, SequenceTensor
from rbp_engine.spiking.current import Current
from tests.fuzz.comparison import by_engine, by_oracle, differences
from tests.fuzz.networks import FIRE, Apply, Network, Neuron, Node, Problem, images
from tests.fuzz.oracles import Rates, SingleStep, mean, mean_over_steps, of_samples

T, B, C = 3, 4, 5
SHAPES = {"1d of one value": (1, C), "2d": (B, C, 2, 3)}


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.7 + 1.3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def module(dims):
    """A batch norm with weights that differ from a new one's, and without running statistics."""
    kind = nn.BatchNorm2d if dims == "2d" else nn.BatchNorm1d
    norm = kind(C, eps=1e-3, track_running_stats=False).double()
    norm.weight.data.copy_(random(C, seed=11))
    norm.bias.data.copy_(random(C, seed=12))
    return norm


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def by_the_batch(norm, x):
    """With the statistics of all timesteps [T, B, …] together."""
    out = F.batch_norm(x.flatten(0, 1), None, None, norm.weight, norm.bias, True, 0.1, norm.eps)
    return out.unflatten(0, x.shape[:2])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("dims", SHAPES)
def test_without_running_statistics_the_batchs_own_are_used_in_both_modes(dims, kind, static, training):
    """Several steps suffice for them, even with one value per channel."""
    norm = module(dims).train(training)
    x = random(T, *SHAPES[dims])
    x = x[:1].expand_as(x) if static else x
    current = Current.constant(x[0], T) if static else Current.of(x)
    out = norm((RateTensor if kind == "rate" else SequenceTensor)(current))
    assert out.current.static == static
    close(out.resolve().values().expand(x.shape), by_the_batch(norm, x))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_a_single_value_per_channel_is_refused_as_by_torch_and_leaves_the_statistics_unchanged(kind):
    norm = nn.BatchNorm1d(C).double()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm((RateTensor if kind == "rate" else SequenceTensor)(Current.of(random(1, 1, C))))
    assert norm.running_var.isfinite().all()


@pytest.mark.parametrize("momentum", [None, 0.3])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_one_that_is_used_three_times_has_the_statistics_and_gradients_of_the_oracle(method, static, momentum):
    """`momentum=None` is torch's cumulative average, in which each new batch has a smaller weight."""
    torch.manual_seed(0)
    network, convolutions = Network(), [nn.Conv2d(2, 2, 3, padding=1) for _ in range(2)]
    norm, flat = nn.BatchNorm2d(2, momentum=momentum), Apply("torch.flatten(x, 1)")
    network.layers.extend([*convolutions, norm, Neuron(decay=0.5, threshold=0.4), flat, nn.Linear(72, 3)])
    order = [("conv2d", 0), ("batch_norm", 2), ("batch_norm", 2), (FIRE, 3), ("conv2d", 1), ("batch_norm", 2)]
    order += [("flatten", 4), ("linear", 5)]
    network.nodes = [Node(operation, layer, (place,)) for place, (operation, layer) in enumerate(order)]
    batches = [(images(T, static, B, (2, 6, 6)), torch.arange(B) % 3) for _ in range(2)]
    problem = Problem(0, T, network.double(), batches, "1", 1.0)
    assert differences(by_engine(problem, method), by_oracle(problem, method)) == []


def of_the_last_step(layer, x):
    """μ and 1/√(σ² + ε) of the last timestep, which alone reach the backward of rate_S in the published code."""
    return of_samples(layer, x[-1])


def root_of_mean_square(layer, x):
    """1/√(σ² + ε) where 1/(σ²_t + ε) is averaged, as that code does with the timesteps that it keeps."""
    means, inverses = zip(*(of_samples(layer, x_t) for x_t in x), strict=True)
    return mean(means), mean([inverse**2 for inverse in inverses]).sqrt()


def gradient_of_rate_s(statistics, problem):
    """By its definition in plain torch, with these statistics in the backward of batch norm."""
    network, [(steps, labels)] = copy.deepcopy(problem.network), problem.batches
    with torch.no_grad():
        walk = SingleStep(network)
        values = list(zip(*(walk(images_t) for images_t in steps), strict=True))
    F.cross_entropy(Rates(walk, values, statistics)(mean(list(steps)))[-1], labels).backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("timesteps", [1, 4])
def test_rate_s_averages_one_over_the_deviation_and_beyond_one_step_differs_from_the_published_code(timesteps):
    torch.manual_seed(0)
    layers = [Apply("torch.flatten(x, 1)"), nn.Linear(144, 3)]
    for channels in (4, 2):
        layers[:0] = [nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), Neuron(decay=0.5, threshold=0.7)]
    network, order = Network(), ["conv2d", "batch_norm", FIRE] * 2 + ["flatten", "linear"]
    network.layers.extend(layers)
    network.nodes = [Node(operation, place, (place,)) for place, operation in enumerate(order)]
    batch = images(timesteps, False, 8, (2, 6, 6)), torch.arange(8) % 3
    problem = Problem(0, timesteps, network.double(), [batch], "1", 1.0)
    engine = torch.cat([gradient.flatten() for gradient in by_engine(problem, "rate_s").gradients.values()])
    close(engine, gradient_of_rate_s(mean_over_steps, problem))
    for published in (of_the_last_step, root_of_mean_square):
        theirs = gradient_of_rate_s(published, problem)
        difference = float((theirs - engine).norm() / engine.norm())
        assert difference > 0.05 if timesteps > 1 else difference < 1e-12, published


def test_only_the_mean_of_one_over_the_deviation_is_the_derivative_of_the_mean_output():
    """By what is added to the input of every timestep, with the statistics held."""
    norm, steps = module("2d"), random(T, *SHAPES["2d"]) * torch.arange(1, T + 1).reshape(T, 1, 1, 1, 1)
    statistics = [(x_t.mean((0, 2, 3)), x_t.var((0, 2, 3), unbiased=False)) for x_t in steps]
    added = torch.zeros_like(steps[0], requires_grad=True)
    out = mean(
        [
            F.batch_norm(x_t + added, *held, norm.weight, norm.bias, False, 0.1, norm.eps)
            for x_t, held in zip(steps, statistics, strict=True)
        ]
    )
    [derivative] = torch.autograd.grad(out.sum(), added)
    close(derivative[0, :, 0, 0], norm.weight * mean_over_steps(norm, steps)[1])
    for published in (of_the_last_step, root_of_mean_square):
        assert ((norm.weight * published(norm, steps)[1] / derivative[0, :, 0, 0] - 1).abs() > 0.02).all()
