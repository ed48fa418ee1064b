"""Training, evaluation and a plain forward of the same network give the same spikes, logits and running statistics."""

import copy

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import create_model
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor
from rbp_engine.spiking.carriers.rate_s import RateSTensor

T, B = 4, 3
LABELS = torch.tensor([0, 1, 2])
NEURONS = {
    "soft": {},
    "hard": {"reset": "hard", "v_reset": -0.2, "detach_reset": False},
}


def network(neuron):
    """The convnet in float64, with running statistics that differ from a new network's."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=3, in_channels=2, **NEURONS[neuron]).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(-0.1, 0.1)
            module.running_var.uniform_(0.05, 0.2)
    return model


def images(static=False):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, 2, 8, 8, generator=generator, dtype=torch.float64)
    return x[:1].repeat(T, 1, 1, 1, 1) if static else x


def plain_forward(model, x):
    """Layers on the folded T·B batch, neurons in step mode "m" on [T, B, …]: logits [T, B, C] and all spikes."""
    spikes = []
    x = x.flatten(0, 1)
    for layer in model:
        if isinstance(layer, LIF):
            layer.reset()
            layer.step_mode = "m"
            x = layer(x.unflatten(0, (T, B)))
            spikes.append(x.detach())
            x = x.flatten(0, 1)
        else:
            x = layer(x)
    return x.unflatten(0, (T, B)).detach(), spikes


def plain_forward_by_step(model, x):
    """The network on plain tensors, one step after the other, with neurons in step mode "s"."""
    spikes, logits = [], []
    for layer in model:
        if isinstance(layer, LIF):
            layer.reset()
            layer.step_mode = "s"
    with torch.no_grad():
        for x_t in x:
            spikes.append([])
            for layer in model:
                x_t = layer(x_t)
                if isinstance(layer, LIF):
                    spikes[-1].append(x_t)
            logits.append(x_t)
    return torch.stack(logits), [torch.stack(steps) for steps in zip(*spikes, strict=True)]


def recorded_spikes_by_step(model, run):
    """The spikes of every neuron in the T steps, [T, B, …] each; rate_S's rate pass has rates, not spikes."""
    spikes = {layer: [] for layer in model if isinstance(layer, LIF)}

    def record(module, args, output):
        if not isinstance(output, RateSTensor) or output.of_time:
            spikes[module].append(output.values().detach())

    handles = [layer.register_forward_hook(record) for layer in spikes]
    result = run()
    for handle in handles:
        handle.remove()
    return result, [torch.stack(steps) for steps in spikes.values()]


def recorded_spikes(model, run):
    """The spikes of every neuron while `run` was called, [T, B, …] each."""
    spikes = []

    def record(module, args, output):
        sequence = output.sequence if isinstance(output, RateTensor) else output
        spikes.append(sequence.values().detach())

    handles = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, LIF)]
    result = run()
    for handle in handles:
        handle.remove()
    return result, spikes


def same_spikes(actual, expected):
    assert len(actual) == len(expected) == 3
    for left, right in zip(actual, expected, strict=True):
        assert 0.01 < right.mean() < 0.99
        assert torch.equal(left, right)


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("method", ["bptt", "rate_m"])
def test_a_training_step_has_the_spikes_and_logits_of_a_plain_training_forward(method, neuron, static):
    model = network(neuron)
    plain, x = copy.deepcopy(model), images(static)
    expected_logits, expected_spikes = plain_forward(plain, x)
    inputs = x[0] if static else x
    output, spikes = recorded_spikes(model, lambda: create_method(method, T).step(model, inputs, LABELS))
    same_spikes(spikes, expected_spikes)
    torch.testing.assert_close(output.logits, expected_logits.mean(0), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        output.loss, nn.functional.cross_entropy(expected_logits.mean(0), LABELS), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("method", ["bptt_s", "rate_s", "sltt", "ottt"])
def test_a_single_step_method_has_the_spikes_and_logits_of_a_plain_forward_step_by_step(method, neuron, static):
    model = network(neuron)
    plain, x = copy.deepcopy(model), images(static)
    expected_logits, expected_spikes = plain_forward_by_step(plain, x)
    inputs = x[0] if static else x
    output, spikes = recorded_spikes_by_step(model, lambda: create_method(method, T).step(model, inputs, LABELS))
    same_spikes(spikes, expected_spikes)
    torch.testing.assert_close(output.logits, expected_logits.mean(0), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        output.loss, nn.functional.cross_entropy(expected_logits.mean(0), LABELS), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("method", METHODS)
def test_predict_gives_the_logits_of_a_step_by_step_evaluation(method, neuron, static):
    model = network(neuron)
    plain, x = copy.deepcopy(model).eval(), images(static)
    with torch.no_grad():
        expected = torch.stack([plain(step) for step in x])
    _, expected_spikes = plain_forward(copy.deepcopy(model).eval(), x)
    inputs = x[0] if static else x
    logits, spikes = recorded_spikes(model, lambda: create_method(method, T).predict(model, inputs))
    assert logits.shape == (T, B, 3)
    same_spikes(spikes, expected_spikes)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(logits[0], logits[-1])


def test_a_rate_tensor_in_evaluation_mode_has_the_mean_of_the_predicted_logits():
    model = network("soft").eval()
    x = images()
    logits = create_method("rate_m", T).predict(model, x)
    out = model(RateTensor(SequenceTensor(x, T), x.mean(0)))
    torch.testing.assert_close(out.sequence.values(), logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.rate().detach(), logits.mean(0), rtol=1e-10, atol=1e-10)


def test_predict_accepts_another_number_of_timesteps_than_training():
    model = network("soft")
    image = images(static=True)[0]
    method = create_method("rate_m", T)
    assert method.predict(model, image, timesteps=7).shape == (7, B, 3)
    torch.testing.assert_close(method.predict(model, image, timesteps=7)[:T], method.predict(model, image))


def test_a_network_without_neurons_predicts_the_same_logits_at_every_step_of_a_static_image():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    logits = create_method("bptt", T).predict(model, torch.ones(B, 2, 2, 2))
    assert logits.shape == (T, B, 3)
    assert torch.equal(logits, logits[:1].expand_as(logits))


@pytest.mark.parametrize("momentum", [None, 0.3])
@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_norm_used_twice_gets_the_running_statistics_of_a_plain_forward(method, static, momentum):
    """`momentum=None` is torch's cumulative average, in which each new batch has a smaller weight."""
    torch.manual_seed(0)
    early, late = (nn.BatchNorm2d(2, momentum=momentum) for _ in range(2))
    convs = [nn.Conv2d(2, 2, 3, padding=1) for _ in range(4)]
    layers = [convs[0], early, convs[1], early, LIF(), convs[2], late, LIF(), convs[3], late, nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(128, 3)).double()
    plain, x = copy.deepcopy(model), images(static)
    for _ in range(2):
        create_method(method, T).step(model, x[0] if static else x, LABELS)
        (plain_forward if method in ("bptt", "rate_m") else plain_forward_by_step)(plain, x)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-10, atol=1e-10)
