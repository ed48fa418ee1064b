"""Training steps on the GPU: their results, with every kernel and precision, and that they do not wait for it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import MODELS, create_model
from rbp_engine.spiking.layers import compiler
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.optimisation import create_optimizer
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.step import OptimizerStep

T, B, CLASSES = 4, 8, 10
# Channels and size of the images; 3 and 32 for the other networks.
IMAGES = {
    "convnet": (1, 16),
    "vggsnn_dvs": (2, 48),
    "spikformer_2_256": (2, 48),
    "spikformer_digits": (1, 8),
    "spikformer_mnist": (1, 28),
    "qkformer_2_256": (2, 48),
    "qkformer_digits": (1, 8),
    "sew_resnet34": (3, 64),
    "preact_resnet34": (3, 64),
}


def batch(network: str, *, events: bool = False) -> tuple[Tensor, Tensor]:
    channels, size = IMAGES.get(network, (3, 32))
    draw = torch.Generator().manual_seed(1)
    shape = (T, B, channels, size, size) if events else (B, channels, size, size)
    return torch.randn(shape, generator=draw), torch.arange(B) % CLASSES


def fresh(network: str, kernel: str = "eager") -> nn.Module:
    torch.manual_seed(0)
    return create_model(network, num_classes=CLASSES, in_channels=IMAGES.get(network, (3, 32))[0], kernel=kernel)


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten().cpu().double() for parameter in model.parameters()])


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Within this context torch raises an error if the host waits for the GPU."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("events", [False, True], ids=["static", "events"])
@pytest.mark.parametrize("kernel", ["eager", "compiled"])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_a_cpu(device: torch.device, method: str, kernel: str, events: bool) -> None:
    """In float64, where rounding puts no spike on the other side of the threshold."""
    if kernel == "compiled" and (problem := compiler.problem(device.type)):
        pytest.skip(f"torch.compile does not work here: {problem}")
    images, labels = batch("convnet", events=events)
    expected, model = fresh("convnet").double(), fresh("convnet", kernel).double().to(device)
    on_cpu = create_method(method, T).step(expected, images.double(), labels)
    out = create_method(method, T).step(model, images.double().to(device), labels.to(device))
    torch.testing.assert_close(out.logits.cpu(), on_cpu.logits, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(gradients(model), gradients(expected), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kernel", ["eager", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_in_every_precision_the_gradient_points_where_it_does_in_float64(
    device: torch.device, method: str, precision: str, kernel: str
) -> None:
    """Spikes differ where the membrane is near the threshold, so the gradients are only similar."""
    if kernel == "compiled" and (problem := compiler.problem(device.type)):
        pytest.skip(f"torch.compile does not work here: {problem}")
    if precision == "fp16" and device.type == "cpu":
        pytest.skip("fp16 is for GPUs")
    images, labels = (tensor.to(device) for tensor in batch("convnet"))
    exact, model = fresh("convnet").double().to(device), fresh("convnet", kernel).to(device)
    create_method(method, T).step(exact, images.double(), labels)
    out = create_method(method, T, precision=precision).step(model, images, labels)
    assert out.loss.isfinite()
    assert torch.cosine_similarity(gradients(model), gradients(exact), dim=0) > (0.97 if precision == "fp32" else 0.85)


@pytest.mark.parametrize("network", MODELS)
def test_every_network_takes_a_step_of_every_method(device: torch.device, network: str) -> None:
    images, labels = (tensor.to(device) for tensor in batch(network))
    model = fresh(network).to(device)
    for method in METHODS:
        model.zero_grad()
        out = create_method(method, T).step(model, images, labels)
        found = gradients(model)
        assert out.loss.isfinite() and found.isfinite().all() and found.abs().max() > 0, method
    assert create_method("rate_m", T).predict(model, images).isfinite().all()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_optimizer_steps_do_not_wait_for_the_card(card: torch.device, method: str, precision: str) -> None:
    images, labels = (tensor.to(card) for tensor in batch("convnet"))
    model = fresh("convnet").to(card)
    state = State(model, create_method(method, T, precision=precision), create_optimizer(model, "sgd", lr=0.01))
    step = OptimizerStep(state, Ranks(), accumulate=2, clip_norm=1.0)
    before = copy.deepcopy(model.state_dict())
    step(images, labels, B)  # the first step may wait: it makes what later ones reuse
    with no_waiting(card):
        step(images, labels, B)
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
