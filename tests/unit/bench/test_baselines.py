"""Baselines train the same network: their gradients are those of our methods."""

import pytest
import torch

from rbp_engine.bench.baselines import BASELINES
from rbp_engine.methods import create_method
from rbp_engine.models import create_model

T = 3


def gradients(name, images, labels):
    """Of a method or of a baseline, from the same weights."""
    torch.manual_seed(0)
    settings = {"decay": 0.5, "surrogate": "sigmoid", "surrogate_args": {"alpha": 4.0}}
    model = create_model("convnet", num_classes=10, in_channels=2, **settings).train()
    step = BASELINES[name](model, T) if name in BASELINES else None
    if step is None:
        create_method(name, T).step(model, images, labels)
    else:
        step(images, labels)
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize(("baseline", "method"), [("spikingjelly", "bptt"), ("two_pass", "rate_m")])
def test_a_baseline_has_the_gradient_of_our_method(baseline, method, frames):
    torch.manual_seed(1)
    images = torch.rand(T, 4, 2, 8, 8) if frames else torch.rand(4, 2, 8, 8)
    labels = torch.tensor([0, 1, 2, 3])
    found, expected = gradients(baseline, images, labels), gradients(method, images, labels)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)
