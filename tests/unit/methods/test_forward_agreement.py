"""A prediction has the logits of the same network on plain tensors, step by step."""

import copy

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import create_model
from rbp_engine.spiking import RateTensor, SequenceTensor

T, B = 4, 3
NEURONS = {
    "soft": {},
    "hard": {"reset": "hard", "v_reset": -0.2, "detach_reset": False},
}


def network(neuron):
    """The convnet in float64, with running statistics that differ from a new network's."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=3, in_channels=2, **NEURONS[neuron]).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(-0.1, 0.1)
            module.running_var.uniform_(0.05, 0.2)
    return model


def images(static=False):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, 2, 8, 8, generator=generator, dtype=torch.float64)
    return x[:1].repeat(T, 1, 1, 1, 1) if static else x


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("method", METHODS)
def test_predict_gives_the_logits_of_a_step_by_step_evaluation(method, neuron, static):
    model = network(neuron)
    plain, x = copy.deepcopy(model).eval(), images(static)
    with torch.no_grad():
        expected = torch.stack([plain(step) for step in x])
    logits = create_method(method, T).predict(model, x[0] if static else x)
    assert logits.shape == (T, B, 3)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(logits[0], logits[-1])


def test_a_rate_tensor_in_evaluation_mode_has_the_mean_of_the_predicted_logits():
    model = network("soft").eval()
    x = images()
    logits = create_method("rate_m", T).predict(model, x)
    out = model(RateTensor(SequenceTensor(x, T), x.mean(0)))
    torch.testing.assert_close(out.sequence.values(), logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.rate().detach(), logits.mean(0), rtol=1e-10, atol=1e-10)


def test_predict_accepts_another_number_of_timesteps_than_training():
    model = network("soft")
    image = images(static=True)[0]
    method = create_method("rate_m", T)
    assert method.predict(model, image, timesteps=7).shape == (7, B, 3)
    torch.testing.assert_close(method.predict(model, image, timesteps=7)[:T], method.predict(model, image))
