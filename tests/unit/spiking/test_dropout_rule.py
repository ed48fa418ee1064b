"""Dropout: one mask for all timesteps and for the rate, so that it commutes with the time mean."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.spiking import RateTensor, SequenceTensor

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
    return out.sequence.steps() if isinstance(out, RateTensor) else out.steps()


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("name", NAMES)
def test_one_mask_serves_all_steps_and_the_rate(name, kind):
    x = random(T, *SHAPES[name]).requires_grad_()
    out = LAYERS[name](0.4)(make(kind, x))
    masks = (steps_of(out) / x).detach()
    torch.testing.assert_close(masks, masks[:1].expand_as(masks))
    mask = masks[0].round(decimals=9)
    assert set(mask.unique().tolist()) == {0.0, round(1 / 0.6, 9)}
    if kind == "rate":
        torch.testing.assert_close(out.rate(), x.mean(0) * mask)
        gradient = torch.autograd.grad(out.rate().sum(), x)[0]
        torch.testing.assert_close(gradient, (mask / T).expand_as(x))
    else:
        gradient = torch.autograd.grad(out.values().sum(), x)[0]
        torch.testing.assert_close(gradient, mask.expand_as(x))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_the_one_that_torch_draws_for_one_steps_batch(name, kind):
    x = random(T, *SHAPES[name])
    torch.manual_seed(5)
    expected = x * getattr(F, name)(torch.ones(SHAPES[name], dtype=torch.float64), 0.4, True)
    torch.manual_seed(5)
    torch.testing.assert_close(steps_of(LAYERS[name](0.4)(make(kind, x))), expected)


@pytest.mark.parametrize("name", ["dropout1d", "dropout2d"])
def test_a_channel_is_dropped_as_a_whole(name):
    torch.manual_seed(1)
    out = LAYERS[name](0.5)(make("rate", random(T, *SHAPES[name])))
    kept = out.rate().flatten(2) != 0
    assert torch.equal(kept.all(-1), kept.any(-1))
    assert 0 < kept.all(-1).sum() < kept.all(-1).numel()


def test_the_fraction_of_zeros_is_the_probability():
    torch.manual_seed(0)
    out = F.dropout(make("rate", torch.ones(T, 100, 200)), 0.3)
    # 20 000 draws: the standard deviation of the fraction is 0.0032.
    assert (out.rate() == 0).double().mean().item() == pytest.approx(0.3, abs=0.015)


def test_each_forward_draws_a_new_mask():
    carrier = make("rate", random(T, *SHAPES["dropout"]))
    layer = nn.Dropout(0.5)
    assert not torch.equal(layer(carrier).rate(), layer(carrier).rate())


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("name", NAMES)
def test_in_evaluation_it_changes_nothing(name, kind):
    x = random(T, *SHAPES[name])
    out = LAYERS[name](0.9).eval()(make(kind, x))
    assert torch.equal(steps_of(out), x)
    if kind == "rate":
        assert torch.equal(out.rate(), x.mean(0))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_a_static_image_is_masked_once(kind):
    image = random(*SHAPES["dropout2d"])
    out = nn.Dropout2d(0.5)(make(kind, image, static=True))
    sequence = out.sequence if kind == "rate" else out
    assert sequence.static
    assert (sequence.values() == 0).any()
    if kind == "rate":
        assert torch.equal(out.rate(), sequence.values())


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_in_place_dropout_leaves_its_input_unchanged(kind):
    x = random(T, *SHAPES["dropout"])
    before = x.clone()
    out = nn.Dropout(0.5, inplace=True)(make(kind, x))
    assert (steps_of(out) == 0).any()
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_torch_dropout_with_positional_arguments_uses_the_same_rule(kind):
    x = random(T, *SHAPES["dropout"])
    torch.manual_seed(5)
    expected = steps_of(F.dropout(make(kind, x), 0.4))
    torch.manual_seed(5)
    assert torch.equal(steps_of(torch.dropout(make(kind, x), 0.4, True)), expected)
