"""Dropout as a function and in place; its mask, one for all timesteps and the rate, is that of tests/fuzz."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.spiking import RateTensor, SequenceTensor, UnsupportedOperation
from rbp_engine.spiking.current import Current

T, B = 4, 3
KINDS = pytest.mark.parametrize("kind", ["rate", "sequence"])


def random():
    return 0.5 + torch.rand(T, B, 20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make(kind, x):
    return (RateTensor if kind == "rate" else SequenceTensor)(Current.of(x))


def steps_of(out):
    return out.resolve().values()


@KINDS
def test_the_function_draws_the_mask_that_torch_draws_for_one_steps_batch(kind):
    x = random()
    torch.manual_seed(5)
    expected = x * F.dropout(torch.ones_like(x[0]), 0.4, True)
    torch.manual_seed(5)
    torch.testing.assert_close(steps_of(torch.dropout(make(kind, x), 0.4, True)), expected)


@KINDS
@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout1d])
def test_in_place_dropout_changes_its_argument_and_returns_it(layer, kind):
    x = random()
    before, argument = x.clone(), make(kind, x)
    torch.manual_seed(5)
    expected = layer(0.5)(make(kind, x))
    torch.manual_seed(5)
    assert layer(0.5, inplace=True)(argument) is argument
    assert torch.equal(steps_of(argument), steps_of(expected))
    if kind == "rate":
        assert torch.equal(argument.rate(), expected.rate())
    assert torch.equal(x, before)  # the tensor that the carrier was made of


@KINDS
def test_a_view_that_in_place_dropout_does_not_reach_is_refused(kind):
    x = make(kind, random())
    view = x.transpose(1, 2)
    F.dropout(x, 0.5, inplace=True)
    with pytest.raises(UnsupportedOperation, match="was changed by 'dropout'"):
        view + 1.0
