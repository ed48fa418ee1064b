"""Low precision: what is computed in it, what stays in float32, and how far gradients are from float32's."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import create_model
from rbp_engine.spiking import LIF

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Membranes near the threshold end up on its other side, the more so the fewer bits a current has.
LEAST_COSINE = {"bf16": 0.85, "fp16": 0.95}
T, B = 3, 8
CASES = [*((method, "bf16") for method in METHODS), ("rate_m", "fp16")]


def train_once(method, precision, weight=1.0):
    """A step's output, the network after it, and the types of the inputs of its convolutions and linear layers."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=4, in_channels=2).train()
    seen = set()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # uses the statistics of this batch, so that neurons fire in the evaluation
    images = torch.rand(B, 2, 12, 12, generator=torch.Generator().manual_seed(1))
    out = create_method(method, T, precision=precision).step(model, images, torch.arange(B) % 4, weight)
    return out, model, seen


@pytest.mark.parametrize(("method", "precision"), CASES)
def test_layers_get_low_precision_and_everything_learned_stays_in_float32(method, precision):
    out, model, seen = train_once(method, precision)
    assert seen == {DTYPES[precision]}
    assert {out.logits.dtype, out.loss.dtype} == {torch.float32}
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    statistics = [buffer for name, buffer in model.named_buffers() if "running" in name]
    assert {buffer.dtype for buffer in statistics} == {torch.float32}
    assert all(not torch.equal(buffer, torch.zeros_like(buffer)) for buffer in statistics)


@pytest.mark.parametrize(("method", "precision"), CASES)
def test_gradients_point_in_nearly_the_same_direction_as_in_float32(method, precision):
    low, full = train_once(method, precision)[1], train_once(method, "fp32")[1]
    for (name, weight), exact in zip(low.named_parameters(), full.parameters(), strict=True):
        cosine = torch.cosine_similarity(weight.grad.flatten(), exact.grad.flatten(), dim=0)
        assert cosine > LEAST_COSINE[precision], name
        assert 0.7 < weight.grad.norm() / exact.grad.norm() < 1.4, name


def test_evaluation_gives_float32_scores_near_those_of_float32():
    scores = []
    for precision in ("fp32", "bf16"):
        model = train_once("rate_m", "fp32")[1].eval()
        images = torch.rand(B, 2, 12, 12, generator=torch.Generator().manual_seed(2))
        scores.append(create_method("rate_m", T, precision=precision).predict(model, images).mean(0))
    assert scores[1].dtype == torch.float32
    assert not torch.equal(*scores)
    assert torch.nn.functional.cosine_similarity(*scores).mean() > 0.85


def test_a_scaled_loss_keeps_gradients_that_fp16_would_lose():
    """Gradients of the first layer below fp16's smallest number, 6e-8, are lost unless the loss is scaled."""
    lost, kept = train_once("rate_m", "fp16", weight=1e-7)[1], train_once("rate_m", "fp16", weight=1e-7 * 2**16)[1]
    first = next(iter(lost.parameters())).grad, next(iter(kept.parameters())).grad
    assert (first[0] == 0).float().mean() > (first[1] == 0).float().mean() + 0.2


@pytest.mark.parametrize("method", METHODS)
def test_parametrised_weights_are_trained_in_low_precision(method):
    """Each timestep has a weight with a graph of its own, which sltt and ottt propagate back at once."""
    found = []
    for precision in ("bf16", "fp32"):
        torch.manual_seed(0)
        layers = weight_norm(nn.Conv2d(2, 8, 3)), LIF(), weight_norm(nn.Conv2d(8, 8, 3)), LIF()
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 4))
        create_method(method, T, precision=precision).step(model, 3 * torch.rand(B, 2, 6, 6), torch.arange(B) % 4)
        found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert torch.cosine_similarity(*found, dim=0) > LEAST_COSINE["bf16"]


class PositionBias(nn.Module):
    """Attention with a bias by position, and a scale by channel, as in Swin and ConvNeXt; a buffer as a mask."""

    def __init__(self):
        super().__init__()
        self.tokens, self.neuron, self.mixed, self.last = nn.Linear(2, 24), LIF(threshold=0.5), nn.Linear(8, 8), LIF()
        self.bias, self.scale = nn.Parameter(torch.rand(16, 16)), nn.Parameter(torch.rand(8))
        self.head = nn.Linear(8, 4)
        self.register_buffer("mask", torch.zeros(16, 16))

    def forward(self, images):
        spikes = self.neuron(self.tokens(images.flatten(2).transpose(1, 2)))
        query, key, value = spikes.chunk(3, -1)
        attended = (query @ key.transpose(1, 2) + self.bias + self.mask).softmax(-1) @ value
        return self.head(self.last(self.mixed(self.scale * attended) / self.scale + query).mean(1))


@pytest.mark.filterwarnings("ignore:softmax gives numbers")
@pytest.mark.parametrize(("method", "precision"), CASES)
def test_a_parameter_beside_activations_leaves_them_in_low_precision(method, precision):
    torch.manual_seed(0)
    model, seen = PositionBias(), []
    for module in (model.neuron, model.mixed, model.last, model.head):
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    create_method(method, T, precision=precision).step(model, 3 * torch.rand(B, 2, 4, 4), torch.arange(B) % 4)
    assert {*seen} == {DTYPES[precision]}
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


class Small(nn.Module):
    """Spikes so small that ε counts."""

    def forward(self, spikes):
        return 0.05 * spikes


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
def test_the_gradient_of_an_rms_norm_has_the_epsilon_that_torch_takes(method, reference, precision):
    """That of float32 in every precision. At T = 1 the gradient is BPTT's."""
    found = []
    for name, settings in ((method, {"reference": reference}), ("bptt", {})):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), LIF(), Small(), nn.RMSNorm(16), nn.Linear(16, 4))
        images = 4 * torch.rand(B, 2, 4, 4)
        create_method(name, 1, precision=precision, **settings).step(model, images, torch.arange(B) % 4)
        found.append(model[1].weight.grad)
    torch.testing.assert_close(*found, rtol=0.0, atol=0.05 * float(found[1].abs().max()))
