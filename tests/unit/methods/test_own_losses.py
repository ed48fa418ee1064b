"""A function as the loss of every method, and what is said of its result."""

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.errors import OwnCodeError
from rbp_engine.methods import METHODS, Loss, create_method
from rbp_engine.spiking import LIF

T, B, C = 3, 5, 3
LABELS = torch.tensor([0, 1, 2, 0, 1])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), LIF(), nn.Linear(8, C)).double()


def images() -> Tensor:
    return torch.randn(B, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("labels", [LABELS, torch.softmax(torch.randn(B, C).double(), 1)], ids=["classes", "mixed"])
def test_a_function_that_is_cross_entropy_has_the_bits_of_cross_entropy(name: str, labels: Tensor) -> None:
    found = []
    for loss in (entropy, Loss()):
        model = network()
        out = create_method(name, T, loss=loss).step(model, images(), labels, 0.5)
        found.append([out.loss, out.logits, *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda logits, labels: 1.0, "returned float: it must return a tensor"),
        (lambda logits, labels: logits.mean(0), r"returned the shape \[3\]: it must be one number, the mean"),
        (lambda logits, labels: logits.argmax(1).sum(), "returned torch.int64: it must be floating point"),
        (lambda logits, labels: logits.detach().sum(), "has no gradient: compute it from the logits"),
        (lambda logits, labels: (logits * torch.nan).sum(), "is nan for the first batch"),
    ],
    ids=["a number", "a vector", "an integer", "detached", "nan"],
)
def test_a_result_that_cannot_be_minimised_is_an_error(name: str, loss: object, message: str) -> None:
    with pytest.raises(OwnCodeError, match=rf"the loss <lambda> {message}"):
        create_method(name, T, loss=loss).step(network(), images(), LABELS)


def test_a_loss_that_becomes_infinite_later_is_left_to_the_caller() -> None:
    """A run counts on the step's loss and gradients, and must not wait for the device at each step."""
    scale = torch.ones(())
    method = create_method("rate_m", T, loss=lambda logits, labels: logits.sum() * scale)
    method.step(network(), images(), LABELS)
    scale.fill_(torch.inf)
    assert not method.step(network(), images(), LABELS).loss.isfinite()


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="a loss is a Loss or a function of logits and labels, got str"):
        create_method("bptt", T, loss="ce")
