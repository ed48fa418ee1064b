"""What a training step computes and keeps: the paper's claim, in numbers that do not depend on the machine."""

import time

import pytest
import torch

from rbp_engine.bench.baselines import BASELINES
from rbp_engine.bench.measure.counts import saved_bytes, weighted_operations
from rbp_engine.bench.measure.floor import FORMATS, Floor
from rbp_engine.methods import create_method
from rbp_engine.methods.protocol import predict
from rbp_engine.models import create_model

B = 4


def step(name, timesteps):
    """A step of a method or baseline, and the network that it trains."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=10, in_channels=2).train()
    images, labels = torch.rand(timesteps, B, 2, 8, 8), torch.arange(B)
    if name in BASELINES:
        baseline = BASELINES[name](model, timesteps, images)
        return baseline.network, lambda: baseline.step(images, labels)
    method = create_method(name, timesteps)
    return model, lambda: method.step(model, images, labels)


def units(name, timesteps):
    """In units of a forward pass of the batch at one timestep; the first layer sends no gradient to its input."""
    model = create_model("convnet", num_classes=10, in_channels=2)
    one = weighted_operations(lambda: predict(model, torch.rand(1, B, 2, 8, 8), 1))
    return weighted_operations(step(name, timesteps)[1]) / one


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bptt", 12), ("bptt_s", 12), ("rate_m", 6), ("rate_s", 7), ("sltt", 12), ("ottt", 12), ("spikingjelly", 12),
     ("ann", 7)],
)  # fmt: skip
def test_operations_at_four_timesteps(name, expected):
    assert expected - 0.3 < units(name, 4) <= expected + 1e-9


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@pytest.mark.parametrize("name", ["rate_m", "rate_s", "bptt", "spikingjelly", "ann"])
def test_the_floor_of_a_step_has_its_operations_and_nothing_else(name):
    _, taken = step(name, 4)
    floor = Floor(taken, torch.device("cpu"), seconds)
    assert floor.layout in FORMATS
    assert weighted_operations(floor.run) == weighted_operations(taken)
    assert saved_bytes(floor.run, []) == 0


def test_saved_bytes_are_those_held_at_the_same_time():
    weight = torch.ones(10, requires_grad=True)
    x = torch.ones(5, 10)

    def two_steps():
        for _ in range(2):
            ((weight * x).exp()).sum().backward()

    # The input of the product and the output of the exponential; the weight does not count as a tensor of the step.
    assert saved_bytes(two_steps, [weight]) == 2 * 4 * 50
