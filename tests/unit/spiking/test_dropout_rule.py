"""Dropout: one mask for all timesteps and for the rate, so that it commutes with the time mean."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.spiking import RateTensor, SequenceTensor, UnsupportedOperation

T, B = 4, 3
LAYERS = {"dropout": nn.Dropout, "dropout1d": nn.Dropout1d, "dropout2d": nn.Dropout2d}
SHAPES = {"dropout": (B, 20, 5), "dropout1d": (B, 20, 5), "dropout2d": (B, 20, 5, 2)}
NAMES = sorted(LAYERS)


def random(*shape):
    return 0.5 + torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make(kind, x, static=False):
    sequence = SequenceTensor(x, T, static=static)
    return RateTensor(sequence, sequence.time_mean()) if kind == "rate" else sequence


def steps_of(out):
    values = out.resolve().values()
    return values.expand(T, *values.shape) if out.current.static else values


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_the_one_that_torch_draws_for_one_steps_batch(name, kind):
    x = random(T, *SHAPES[name])
    torch.manual_seed(5)
    expected = x * getattr(F, name)(torch.ones(SHAPES[name], dtype=torch.float64), 0.4, True)
    calls = [LAYERS[name](0.4)] + ([lambda x: torch.dropout(x, 0.4, True)] if name == "dropout" else [])
    for call in calls:
        torch.manual_seed(5)
        torch.testing.assert_close(steps_of(call(make(kind, x))), expected)


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("name", NAMES)
def test_in_place_dropout_changes_its_argument_and_returns_it(name, kind):
    x = random(T, *SHAPES[name])
    before, argument = x.clone(), make(kind, x)
    torch.manual_seed(5)
    expected = LAYERS[name](0.5)(make(kind, x))
    torch.manual_seed(5)
    assert LAYERS[name](0.5, inplace=True)(argument) is argument
    assert torch.equal(steps_of(argument), steps_of(expected))
    if kind == "rate":
        assert torch.equal(argument.rate(), expected.rate())
    assert torch.equal(x, before)  # the tensor that the carrier was made of


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_a_view_that_in_place_dropout_does_not_reach_is_refused(kind):
    x = make(kind, random(T, *SHAPES["dropout"]))
    view = x.transpose(1, 2)
    F.dropout(x, 0.5, inplace=True)
    with pytest.raises(UnsupportedOperation, match="was changed by 'dropout'"):
        view + 1.0
