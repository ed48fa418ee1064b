"""rate_M keeps spikes as bytes that only move, and computes nothing at the rates that a gradient does not need."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from rbp_engine.spiking import LIF, RateTensor
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.steps import Spikes

T, B = 3, 2
INDEX = torch.tensor([2, 0])

MOVES = {
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "the batch behind": lambda x: x.movedim(0, -1),
    "reshape of the batch": lambda x: x.reshape(B * 6, 8),
    "expand": lambda x: x.unsqueeze(1).expand(-1, 3, -1, -1, -1),
    "roll": lambda x: x.roll(1, 2),
    "channels by number": lambda x: x[:, INDEX],
    "pixel_shuffle": lambda x: F.pixel_shuffle(x[:, :4], 2),
    "one of three": lambda x: x.chunk(3, 1)[1],
    "of the batch": lambda x: list(x)[1],
}
CALCULATE = {
    "pad with a value": lambda x: F.pad(x, (1, 1), value=0.5),
    "sums of patches": lambda x: F.fold(x.flatten(2), (3, 6), (2, 3)),
}


def fired(shape=(B, 6, 2, 4), seed=0):
    """Spikes, and the leaf that their gradient goes to."""
    x = 2 * torch.rand(T, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaf = x.mean(0).requires_grad_()
    return LIF(0.5)(RateTensor(Current.of(x, leaf))), leaf


def check(move):
    """Values and gradient of the moved carrier, which are those of the moved spikes and of the moved rate."""
    x, leaf = fired()
    out, rate = move(x), move(x.rate())
    assert torch.equal(out.resolve().values(), torch.stack([move(x_t.double()) for _, x_t in x.by_step()]))
    assert torch.allclose(out.rate(), rate, atol=1e-15)
    weights = torch.rand(rate.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (found,) = torch.autograd.grad(out.rate(), leaf, weights)
    x, leaf = fired()
    (expected,) = torch.autograd.grad(move(x.rate()), leaf, weights)
    assert torch.allclose(found, expected, atol=1e-15)
    return out.resolve()


def kept_by(operation, *factors):
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        out = operation(*factors)
    return out, kept


@pytest.mark.parametrize("name", MOVES)
def test_moved_spikes_are_bytes(name):
    steps = check(MOVES[name])
    assert isinstance(steps, Spikes)
    assert {tensor.dtype for tensor in [*steps.bytes_TBX, steps.counts]} == {torch.uint8}


@pytest.mark.parametrize("name", CALCULATE)
def test_spikes_that_an_operation_calculates_with_are_numbers(name):
    assert not isinstance(check(CALCULATE[name]), Spikes)


def test_a_product_of_spikes_keeps_counts_of_one_byte_for_its_gradient():
    (left, _), (right, _) = fired(seed=1), fired(seed=2)
    _, kept = kept_by(torch.matmul, left, right.transpose(-2, -1))
    assert [tensor.dtype for tensor in kept] == [torch.uint8, torch.uint8]


@pytest.mark.parametrize(
    "product",
    [torch.mul, torch.matmul, lambda x, y: torch.einsum("bhij,bhjk->bihk", x, y)],
    ids=["mul", "matmul", "einsum"],
)
def test_until_the_backward_the_graph_of_a_product_keeps_means_and_no_sequences(product):
    factors = [torch.rand(T, B, 2, 4, 4) for _ in range(2)]
    carriers = [RateTensor(Current.of(x, x.mean(0).requires_grad_())) for x in factors]
    sequences = [weakref.ref(carrier.resolve().values()) for carrier in carriers]
    rate = product(*carriers).rate()
    del factors, carriers
    assert [sequence() for sequence in sequences] == [None, None]
    rate.sum().backward()


def test_a_max_pool_keeps_only_the_places_of_the_largest_rates():
    x, _ = fired()
    _, kept = kept_by(lambda x: F.max_pool2d(x, 2), x)
    assert [(tensor.dtype, tensor.shape) for tensor in kept] == [(torch.int64, (B, 6, 1, 2))]
