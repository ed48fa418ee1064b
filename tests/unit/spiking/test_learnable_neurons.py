"""Neurons whose λ and V_th are learnt: their gradients, kernels, shapes and state."""

import os
from itertools import product

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import IF, LIF, PLIF, RateTensor, SequenceTensor
from rbp_engine.spiking.current import Current
from tests.unit.spiking.method_checks import RESETS

BOTH = ("decay", "threshold")


def one_layer(rule, learn=BOTH, by="layer"):
    torch.manual_seed(0)
    neuron = LIF(0.6, 0.7, learn=learn, learn_by=by, **RESETS[rule])
    return nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), neuron, nn.Flatten(), nn.Linear(80, 3)).double()


def batch(timesteps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(timesteps, 3, 2, 4, 4, generator=generator, dtype=torch.float64)
    return images, torch.randint(3, (3,), generator=generator)


def test_parameters_start_at_the_given_values_and_keep_their_ranges():
    neuron = LIF(0.3, 0.8, learn=BOTH)
    assert torch.allclose(torch.stack([neuron.decay, neuron.threshold]), torch.tensor([0.3, 0.8]))
    assert {name: list(x.shape) for name, x in neuron.named_parameters()} == {"decay_logit": [], "log_threshold": []}
    with torch.no_grad():
        neuron.decay_logit.fill_(9.0)
        neuron.log_threshold.fill_(-9.0)
    assert 0.99 < neuron.decay < 1.0 and 0.0 < neuron.threshold < 0.01
    with torch.no_grad():
        neuron.decay_logit.fill_(-9.0)
    assert 0.0 < neuron.decay < 0.01


@pytest.mark.parametrize("by", ["layer", "channel"])
@pytest.mark.parametrize("name", METHODS)
def test_at_t_1_the_decay_has_no_gradient_and_the_threshold_has_one(name, by):
    model = one_layer("hard-to-minus-0.3", by=by)
    create_method(name, 1).step(model, *batch(1))
    assert not model[1].decay_logit.grad.any()
    assert model[1].log_threshold.grad.abs().min() > 1e-4


def test_plif_learns_its_decay_and_if_keeps_all_of_its_membrane():
    assert [name for name, _ in PLIF(0.5).named_parameters()] == ["decay_logit"]
    assert PLIF(threshold=0.4).neurons.threshold == 0.4
    assert len([*PLIF(learn=BOTH).parameters()]) == 2
    current = Current.of(torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0)))
    fired = IF(0.5).neurons.spikes_only(current)
    assert torch.equal(fired, LIF(1.0, 0.5).neurons.spikes_only(current)) and fired.any()
    assert not [*IF().parameters()] and len([*IF(learn=("threshold",)).parameters()]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learn": ("v_reset",)}, "'decay' and 'threshold', got"),
        ({"learn": "decay"}, "'decay' and 'threshold', got"),
        ({"learn": ("decay",), "decay": 1.0}, "must start there, got 1.0"),
        ({"learn": ("decay",), "decay": 0.0}, "must start there, got 0.0"),
        ({"learn": ("decay",), "learn_by": "neuron"}, "'layer' or 'channel', got 'neuron'"),
    ],
)
def test_settings_that_cannot_be_learnt_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LIF(**settings)


@pytest.mark.parametrize("carry", [lambda x: SequenceTensor(Current.of(x)), lambda x: RateTensor(Current.of(x))])
def test_parameters_by_channel_take_their_shape_from_the_first_input(carry):
    neuron = LIF(0.4, learn=BOTH, learn_by="channel")
    spikes = neuron(carry(torch.rand(4, 2, 3, 5, 5)))
    assert spikes.shape == (2, 3, 5, 5)
    assert neuron.decay_logit.shape == neuron.log_threshold.shape == (3,)
    assert torch.allclose(neuron.decay, torch.tensor(0.4))


@pytest.mark.parametrize("channels", [1, 4])
def test_parameters_by_channel_of_plain_tensors_are_not_broadcast_to_another_number_of_channels(channels):
    neuron = LIF(0.4, 0.5, learn=BOTH, learn_by="channel")
    for _ in range(2):
        spikes = neuron(torch.rand(2, 3, 4))
    spikes.sum().backward()
    assert neuron.decay_logit.grad.shape == (3,)
    with pytest.raises(ValueError, match=r"learn for 3 channels.*learn_by=.layer"):
        neuron(torch.rand(2, channels, 4))


@pytest.mark.parametrize(
    ("name", "precision", "by"), [*((name, "bf16", "channel") for name in METHODS), ("rate_m", "fp16", "layer")]
)
def test_in_low_precision_membranes_and_parameters_are_float32(name, precision, by):
    model, (images, labels) = one_layer("hard-to-minus-0.3", by=by).float(), batch(4)
    create_method(name, 4, precision=precision).step(model, images.float(), labels)
    half = [parameter.grad.clone() for parameter in model[1].parameters()]
    model.zero_grad()
    create_method(name, 4).step(model, images.float(), labels)
    for low, parameter in zip(half, model[1].parameters(), strict=True):
        assert low.dtype == torch.float32
        assert torch.allclose(low, parameter.grad, rtol=0.2, atol=2e-3)


def trained(name, rule, kernel):
    """The weights after three steps of a network whose neurons learn by layer and by channel."""
    torch.manual_seed(0)
    first, second = (LIF(0.6, 0.7, learn=learn, kernel=kernel, learn_by=by, **RESETS[rule]) for learn, by in LEARNT)
    model = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1), nn.BatchNorm2d(16), first, nn.Conv2d(16, 16, 3), second,
        nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    images, labels = batch(3)
    method = create_method(name, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        method.step(model, images.float(), labels)
        optimizer.step()
    return model.state_dict()


LEARNT = (("decay",), "layer"), (BOTH, "channel")
# Each takes many seconds to compile.
COMPILED = list(product(METHODS, RESETS)) if "RBP_EVERY_CASE" in os.environ else [("rate_m", "soft-detached")]


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.usefixtures("a_compiler")
@pytest.mark.parametrize(("name", "rule"), COMPILED)
def test_a_network_that_learns_its_decay_is_trained_to_the_same_bits_by_both_kernels(name, rule):
    eager, by_compiler = (trained(name, rule, kernel) for kernel in ("eager", "compiled"))
    assert eager["2.decay_logit"] != LIF(0.6, learn=("decay",)).decay_logit
    assert {key for key in eager if not torch.equal(eager[key], by_compiler[key])} == set()
