"""How close the gradient of a method is to that of BPTT: on a fixed batch, by weight and in all (paper, figure 3).

Both gradients are those of the network as it stands, on a copy, so that training goes on as if nothing had been
measured. BPTT with the same batch statistics is the reference: the statistics of rate_M are those of all timesteps, as
in multi-step BPTT, and those of the other methods of each timestep, as in single-step BPTT.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rbp_engine.methods import Method, create_method

REFERENCE = {
    "rate_m": "bptt", "bptt": "bptt", "rate_s": "bptt_s", "bptt_s": "bptt_s", "sltt": "bptt_s", "ottt": "bptt_s",
}  # fmt: skip


@dataclass(frozen=True)
class GradientAgreement:
    """Of two gradients: the cosine of their angle, and the norm of the method's by that of BPTT.

    Both are None where one of the gradients is 0.
    """

    cosine: float | None
    norm_ratio: float | None


@dataclass(frozen=True)
class Fidelity:
    """The agreement of all gradients together, and of each weight, by the name of its module."""

    whole: GradientAgreement
    by_weight: dict[str, GradientAgreement]


def gradient_fidelity(model: nn.Module, method: Method, images: Tensor, labels: Tensor, seed: int = 0) -> Fidelity:
    """Compare the gradient of `method` with BPTT's, on images [B, C, H, W] or [T, B, C, H, W] and labels [B].

    Weights are what convolutions and linear layers multiply by; their biases, and batch norm, count for the whole only.
    The random numbers of dropout are the same for both. The factor 1/T of the rate methods is left out.
    """
    scale = {"loss_scale": "1"} if method.name.startswith("rate") else {}
    unscaled = create_method(method.name, method.timesteps, precision=method.precision, **scale)
    reference = create_method(REFERENCE[method.name], method.timesteps, precision=method.precision)
    found = _gradients(model, unscaled, images, labels, seed)
    expected = _gradients(model, reference, images, labels, seed)
    products = {name: _products(found[name], expected[name]) for name in found}
    weights = {name.removesuffix(".weight"): name for name in found if expected[name].ndim > 1}
    numbers = torch.stack([torch.stack(list(products.values())).sum(0), *(products[name] for name in weights.values())])
    whole, *rest = (_agreement(*three) for three in numbers.tolist())  # the only wait for the device
    return Fidelity(whole, dict(zip(weights, rest, strict=True)))


def _gradients(model: nn.Module, method: Method, images: Tensor, labels: Tensor, seed: int) -> dict[str, Tensor]:
    twin = copy.deepcopy(model)
    twin.zero_grad(set_to_none=True)
    twin.train()
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        method.step(twin, images, labels)
    return {name: weight.grad for name, weight in twin.named_parameters() if weight.grad is not None}


def _products(one: Tensor, other: Tensor) -> Tensor:
    """The product of two gradients, and their squared norms: [3]."""
    one, other = one.double().flatten(), other.double().flatten()
    return torch.stack([one @ other, one @ one, other @ other])


def _agreement(product: float, found: float, expected: float) -> GradientAgreement:
    if not found or not expected:
        return GradientAgreement(None, None)
    return GradientAgreement(product / (found**0.5 * expected**0.5), (found / expected) ** 0.5)
