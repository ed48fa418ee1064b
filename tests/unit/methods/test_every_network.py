"""Every network of the paper takes a step of rate_m and of its oracle on inputs of its own shape, small ones of all."""

from types import SimpleNamespace

import pytest
import torch

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import MODELS, create_model
from rbp_engine.spiking import LIF

T, B, CLASSES = 2, 2, 10
LABELS = torch.tensor([3, 7])
# Of the transformers the smallest size: the others are the same code.
NETWORKS = [
    name
    for name in MODELS
    if name.endswith("_digits") or not ("former" in name or name.startswith(("ms_resnet", "max", "sdt")))
]
STATIC = {
    "convnet": (1, 28),
    "sew_resnet34": (3, 48),
    "preact_resnet34": (3, 48),
    "spikformer_digits": (1, 8),
    "qkformer_digits": (1, 8),
}
EVENTS = {"vggsnn_dvs": (2, 48)}
# The large ones take seconds for each method, and have the operations of the others.
WITH_ALL_METHODS = ("convnet", "resnet18", "vggsnn_dvs", "spikformer_digits", "qkformer_digits")


def images(name, batch=B):
    """[B, C, H, W], or for event networks varying frames [T, B, 2, 48, 48] of counts, most of them zero."""
    torch.manual_seed(1)
    if name in EVENTS:
        channels, size = EVENTS[name]
        return torch.poisson(torch.full((T, batch, channels, size, size), 0.3))
    channels, size = STATIC.get(name, (3, 32))
    return torch.randn(batch, channels, size, size)


# Run all tests of a network in one process, so that its steps are taken only once.
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NETWORKS])
def steps(request):
    """A network after a step of each of its methods: outputs and gradients by method, and the model for further use."""
    torch.manual_seed(0)
    inputs = images(request.param)
    model = create_model(request.param, num_classes=CLASSES, in_channels=inputs.shape[-3])
    outputs, trouble = {}, {}
    for method in METHODS if request.param in WITH_ALL_METHODS else ("bptt", "rate_m"):
        model.zero_grad()
        outputs[method] = create_method(method, T).step(model, inputs, LABELS)
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        trouble[method] = [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()]
        # The weight of the stem is furthest from the loss: it shows whether gradients arrive.
        stem = next(iter(gradients))
        if not trouble[method] and not gradients[stem].abs().max() > 0:
            trouble[method] = [f"{stem} is all zero"]
    return SimpleNamespace(name=request.param, model=model, outputs=outputs, trouble=trouble)


def test_a_training_step_gives_finite_gradients_that_reach_the_stem(steps):
    for method, output in steps.outputs.items():
        assert output.logits.shape == (B, CLASSES)
        assert output.logits.isfinite().all()
        assert output.loss.isfinite()
        assert steps.trouble[method] == []


def test_logits_are_those_of_bptt_with_the_same_batch_norm(steps):
    for method, output in steps.outputs.items():
        expected = steps.outputs["bptt" if method in ("bptt", "rate_m") else "bptt_s"].logits
        torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-5)


def test_an_evaluation_gives_logits_by_step_and_binary_spikes_at_every_neuron(steps):
    rates = []

    def binary(module, args, out):
        spikes = out.values()
        assert torch.equal(spikes, (spikes != 0).to(spikes.dtype))
        rates.append(spikes.mean().item())

    handles = [module.register_forward_hook(binary) for module in steps.model.modules() if isinstance(module, LIF)]
    inputs = images(steps.name, 1)
    logits = create_method("rate_m", T).predict(steps.model, inputs)
    for handle in handles:
        handle.remove()
    assert logits.shape == (T, 1, CLASSES) and logits.isfinite().all()
    assert len(rates) == len(handles) and sum(rates) > 0
