"""Passing a model to torch.compile does not change its gradients."""

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF

pytestmark = pytest.mark.xdist_group("compiler")  # as tests/unit/spiking/test_compiled_loops.py
T, B = 2, 4
WAYS = {
    "torch.compile": lambda model: torch.compile(model, backend="aot_eager"),
    "model.compile": lambda model: model.compile(backend="aot_eager") or model,
    "torch.compile of a layer": lambda model: model.insert(1, torch.compile(model.pop(1), backend="aot_eager")),
    "inductor": torch.compile,
}


def network(kernel="eager"):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), LIF(kernel=kernel), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 8),
        LIF(kernel=kernel), nn.Linear(8, 3),
    )  # fmt: skip


def two_steps(model, name):
    """Gradients after two training steps, and a prediction."""
    method, images = create_method(name, T), torch.randn(B, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    for shift in (0.0, 0.5):
        method.step(model, images + shift, torch.arange(B) % 3)
    return [*(parameter.grad for parameter in model.parameters()), method.predict(model, images)]


def same(found, expected):
    return all(torch.equal(mine, plain) for mine, plain in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "way"), [*((name, "torch.compile") for name in METHODS), *(("rate_m", way) for way in list(WAYS)[1:])]
)
def test_a_compiled_model_has_the_gradients_and_predictions_of_the_plain_one(name, way):
    assert same(two_steps(WAYS[way](network()), name), two_steps(network(), name))


def test_compiling_the_function_around_the_method_changes_nothing():
    model, expected = network(), two_steps(network(), "rate_m")
    assert same(torch.compile(lambda: two_steps(model, "rate_m"), backend="aot_eager")(), expected)


@pytest.mark.compiles
@pytest.mark.usefixtures("a_compiler")
def test_a_compiled_model_with_compiled_kernels_keeps_both_compiled():
    torch._dynamo.reset()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    found = two_steps(torch.compile(network("compiled"), backend="aot_eager"), "rate_m")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > graphs
    assert same(found, two_steps(network("compiled"), "rate_m"))
