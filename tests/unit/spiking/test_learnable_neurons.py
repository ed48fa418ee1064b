"""Neurons whose λ and V_th are learnt: their gradients, kernels, shapes and state."""

import copy
import io
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import IF, LIF, PLIF, RateTensor, SequenceTensor
from rbp_engine.spiking.carriers.single_step import StepState, StepTensor, TraceTensor
from rbp_engine.spiking.fusion import Current
from rbp_engine.spiking.layers import compiler

RESETS = {
    "soft-detached": {"reset": "soft", "detach_reset": True},
    "soft": {"reset": "soft", "detach_reset": False},
    "hard-detached": {"reset": "hard", "detach_reset": True},
    "hard": {"reset": "hard", "detach_reset": False},
    "hard-to-minus-0.3-detached": {"reset": "hard", "v_reset": -0.3, "detach_reset": True},
    "hard-to-minus-0.3": {"reset": "hard", "v_reset": -0.3, "detach_reset": False},
}
BOTH = ("decay", "threshold")
# With a readout linear in the time mean ∂L/∂s_t is the same at every t, so the rate methods approximate nothing.
EXACT = ("rate_m", "rate_s", "bptt", "bptt_s")


def one_layer(rule, learn=BOTH, by="layer"):
    torch.manual_seed(0)
    neuron = LIF(0.6, 0.7, learn=learn, learn_by=by, **RESETS[rule])
    return nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), neuron, nn.Flatten(), nn.Linear(80, 3)).double()


def batch(timesteps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(timesteps, 3, 2, 4, 4, generator=generator, dtype=torch.float64)
    return images, torch.randint(3, (3,), generator=generator)


def by_hand(model, images, labels, through_time=True):
    """The gradients of λ and V_th themselves, by autograd, from the neuron's equations."""
    neuron = model[1]
    decay, threshold = (value.detach().requires_grad_() for value in (neuron.decay, neuron.threshold))
    over = (-1, 1, 1) if decay.ndim else ()
    lam, v_th = (value.view(over) if over else value for value in (decay, threshold))
    rest, logits, v = neuron.v_reset or 0.0, [], None
    for image in images:
        current = model[0](image)
        before = torch.full_like(current, rest) if v is None else v
        u = rest + lam * ((before if through_time else before.detach()) - rest) + current
        s = neuron.surrogate(u - v_th)
        reset = s.detach() if neuron.detach_reset else s
        v = u - v_th * reset if neuron.v_reset is None else (1 - reset) * u + reset * neuron.v_reset
        logits.append(model[3](model[2](s)))
    loss = F.cross_entropy(torch.stack(logits).mean(0), labels)
    if not through_time:
        loss = torch.stack([F.cross_entropy(logits_t, labels) for logits_t in logits]).mean()
    return torch.autograd.grad(loss, (decay, threshold))


def by_method(name, model, images, labels):
    """The same, from those of the parameters: λ = sigmoid(w), V_th = exp(w)."""
    model.zero_grad()
    settings = {"loss_scale": "1"} if name.startswith("rate") else {}
    create_method(name, len(images), **settings).step(model, images, labels)
    neuron = model[1]
    decay, threshold = neuron.decay.detach(), neuron.threshold.detach()
    return neuron.decay_logit.grad / (decay * (1 - decay)), neuron.log_threshold.grad / threshold


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and other.abs().max() > 1e-4
        assert (one - other).abs().max() <= 1e-10 * other.abs().max()


@pytest.mark.parametrize("by", ["layer", "channel"])
@pytest.mark.parametrize("timesteps", [2, 4, 8])
@pytest.mark.parametrize("rule", RESETS)
@pytest.mark.parametrize("name", EXACT)
def test_gradients_of_decay_and_threshold_are_those_of_backpropagation_through_time(name, rule, timesteps, by):
    model, (images, labels) = one_layer(rule, by=by), batch(timesteps)
    found = by_method(name, model, images, labels)
    close(found, by_hand(model, images, labels))


@pytest.mark.parametrize("rule", RESETS)
@pytest.mark.parametrize("name", ["sltt", "ottt"])
def test_the_online_methods_leave_out_what_the_membrane_carries_through_time(name, rule):
    model, (images, labels) = one_layer(rule), batch(4)
    close(by_method(name, model, images, labels), by_hand(model, images, labels, through_time=False))


@pytest.mark.parametrize("learn", [("decay",), ("threshold",)])
@pytest.mark.parametrize("name", EXACT)
def test_one_of_the_two_alone_has_the_gradient_that_it_has_beside_the_other(name, learn):
    images, labels = batch(4)
    alone, both = one_layer("soft", learn), one_layer("soft")
    for model in (alone, both):
        create_method(name, 4).step(model, images, labels)
    for key, parameter in alone.named_parameters():
        expected = both.get_parameter(key).grad
        assert (parameter.grad - expected).abs().max() <= 1e-5 * expected.abs().max(), key


@pytest.mark.parametrize("name", METHODS)
def test_at_one_timestep_the_decay_has_no_gradient(name):
    model, (images, labels) = one_layer("soft"), batch(1)
    decay, threshold = by_method(name, model, images, labels)
    assert decay == 0.0 and threshold != 0.0


@pytest.mark.parametrize("name", METHODS)
def test_a_neuron_that_learns_trains_the_weights_as_a_fixed_one_with_its_values_does(name):
    """In float64, where sigmoid and exp give back the values to the last digits."""
    images, labels = batch(4)
    gradients = []
    for learn in (BOTH, ()):
        model = one_layer("hard-to-minus-0.3", learn)
        create_method(name, 4).step(model, images, labels)
        gradients.append(model[0].weight.grad)
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-9)


def test_parameters_start_at_the_given_values_and_keep_their_ranges():
    neuron = LIF(0.3, 0.8, learn=BOTH)
    assert torch.allclose(torch.stack([neuron.decay, neuron.threshold]), torch.tensor([0.3, 0.8]))
    assert {name: list(x.shape) for name, x in neuron.named_parameters()} == {"decay_logit": [], "log_threshold": []}
    with torch.no_grad():
        neuron.decay_logit.fill_(9.0)
        neuron.log_threshold.fill_(-9.0)
    assert 0.99 < neuron.decay < 1.0 and 0.0 < neuron.threshold < 0.01


def test_plif_learns_its_decay_and_if_keeps_all_of_its_membrane():
    assert [name for name, _ in PLIF(0.5).named_parameters()] == ["decay_logit"]
    assert PLIF(threshold=0.4).neurons.threshold == 0.4
    assert len([*PLIF(learn=BOTH).parameters()]) == 2
    current = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))
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


def test_a_fixed_neuron_has_no_parameters_and_no_trace():
    neuron, current = LIF(0.6), torch.rand(4, 2, 3)
    assert not [*neuron.parameters()] and not neuron.state_dict()
    assert len(neuron.neurons.rate(current).derivatives) == 1


@pytest.mark.parametrize("carry", [lambda x: SequenceTensor(x, 4), lambda x: RateTensor(SequenceTensor(x, 4))])
def test_parameters_by_channel_take_their_shape_from_the_first_input(carry):
    neuron = LIF(0.4, learn=BOTH, learn_by="channel")
    spikes = neuron(carry(torch.rand(4, 2, 3, 5, 5)))
    assert spikes.shape == (2, 3, 5, 5)
    assert neuron.decay_logit.shape == neuron.log_threshold.shape == (3,)
    assert torch.allclose(neuron.decay, torch.tensor(0.4))


def test_a_state_dict_gives_parameters_by_channel_their_shape():
    trained = one_layer("soft", by="channel")
    trained(SequenceTensor(batch(4)[0], 4))
    with torch.no_grad():
        trained[1].decay_logit.add_(torch.arange(5.0))
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    fresh = one_layer("soft", by="channel")
    fresh.load_state_dict(torch.load(file))
    assert torch.equal(fresh[1].decay_logit, trained[1].decay_logit)
    assert torch.equal(copy.deepcopy(fresh)[1].decay, trained[1].decay)


def test_only_the_channel_that_a_loss_depends_on_has_a_gradient():
    neuron = LIF(0.4, 0.5, learn=BOTH, learn_by="channel")
    rates = neuron(RateTensor(SequenceTensor(torch.rand(4, 2, 3, 5, 5), 4))).rate()
    rates[:, 1].sum().backward()
    assert neuron.decay_logit.grad.ne(0).tolist() == neuron.log_threshold.grad.ne(0).tolist() == [False, True, False]


def test_the_trace_of_ottt_has_the_learnt_decay_and_no_graph():
    neuron, state = LIF(0.2, learn=("decay",)), StepState(2)
    with torch.no_grad():
        neuron.decay_logit.fill_(0.0)
    for _ in range(2):
        state.next_pass()
        out = neuron(TraceTensor(torch.full((1, 3), 2.0, requires_grad=True), state))
    assert not out.trace.requires_grad
    assert out.trace.tolist() == [[1.5] * 3]


@pytest.mark.parametrize("channels", [1, 4])
def test_parameters_by_channel_are_not_broadcast_to_another_number_of_channels(channels):
    neuron = LIF(0.4, 0.5, learn=("threshold",), learn_by="channel")
    neuron(StepTensor(torch.rand(2, 3, 4), first_step(), through_time=False))
    with pytest.raises(ValueError, match=r"learn for 3 channels.*learn_by=.layer"):
        neuron(StepTensor(torch.rand(2, channels, 4), first_step(), through_time=False))


def first_step():
    state = StepState(2)
    state.next_pass()
    return state


def test_a_plain_tensor_takes_parameters_by_channel_too():
    neuron = LIF(0.4, 0.5, learn=BOTH, learn_by="channel")
    for _ in range(2):
        spikes = neuron(torch.rand(2, 3, 4))
    spikes.sum().backward()
    assert neuron.decay_logit.grad.shape == (3,)


@pytest.mark.parametrize("by", ["layer", "channel"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_in_low_precision_membranes_and_parameters_are_float32(name, precision, by):
    model, (images, labels) = one_layer("hard-to-minus-0.3", by=by).float(), batch(4)
    create_method(name, 4, precision=precision).step(model, images.float(), labels)
    half = [parameter.grad.clone() for parameter in model[1].parameters()]
    model.zero_grad()
    create_method(name, 4).step(model, images.float(), labels)
    for low, parameter in zip(half, model[1].parameters(), strict=True):
        assert low.dtype == torch.float32
        assert torch.allclose(low, parameter.grad, rtol=0.2, atol=2e-3)


def trained(name, kernel):
    """The weights after three steps of a network whose neurons learn by layer and by channel."""
    torch.manual_seed(0)
    first, second = (LIF(0.6, 0.7, learn=learn, kernel=kernel, learn_by=by) for learn, by in LEARNT)
    model = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1), nn.BatchNorm2d(16), first, nn.Conv2d(16, 16, 3), second,
        nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    images, labels = batch(3)
    method = create_method(name, 3)
    method.predict(model, images.float())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        method.step(model, images.float(), labels)
        optimizer.step()
    return model.state_dict()


LEARNT = (("decay",), "layer"), (BOTH, "channel")
# Each takes many seconds to compile.
COMPILED = METHODS if "RBP_EVERY_CASE" in os.environ else ["rate_m"]


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.parametrize("name", COMPILED)
def test_a_network_that_learns_its_decay_is_trained_to_the_same_bits_by_both_kernels(name):
    if reason := compiler.problem("cpu"):
        pytest.skip(f"torch.compile does not work here: {reason}")
    eager, by_compiler = (trained(name, kernel) for kernel in ("eager", "compiled"))
    assert eager["2.decay_logit"] != LIF(0.6, learn=("decay",)).decay_logit
    assert {key for key in eager if not torch.equal(eager[key], by_compiler[key])} == set()


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.skipif("RBP_EVERY_CASE" not in os.environ, reason="RBP_EVERY_CASE=1")
@pytest.mark.parametrize("by", ["layer", "channel"])
@pytest.mark.parametrize("rule", ["soft-detached", "soft", "hard-detached", "hard-to-minus-0.3"])
def test_compiled_loops_give_the_same_bits(rule, by):
    if reason := compiler.problem("cpu"):
        pytest.skip(f"torch.compile does not work here: {reason}")
    generator = torch.Generator().manual_seed(3)
    current, grad = torch.randn(2, 3, 2, 16, 4, 4, generator=generator)
    neurons = {k: LIF(0.6, 0.7, learn=BOTH, learn_by=by, kernel=k, **RESETS[rule]) for k in ("eager", "compiled")}
    results = []
    for neuron in neurons.values():
        parameters = neuron.neurons_for(current[0])
        spikes, counts, derivatives, _ = parameters.rate(current)
        loop = parameters.rate_loop(current[0], 3)
        by_step = [loop.step(Current.of(current_t.unsqueeze(0))).clone() for current_t in current]
        at_current, learnt = parameters.gradient_through_time(current, grad)
        counted, of_loop = loop.finish()
        results.append(
            [
                *spikes, counts, *derivatives, *by_step, counted, *of_loop,
                at_current, *learnt, parameters.spikes_only(current),
            ]
        )  # fmt: skip
    for number, (eager, by_compiler) in enumerate(zip(*results, strict=True)):
        assert torch.equal(eager, by_compiler), number
