"""What a method accepts: types and sizes of images, T, surrounding contexts, hooks and parametrised weights."""

import warnings

import numpy
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF

T, B = 3, 4
LABELS = torch.arange(B) % 3


def network(dtype=torch.float32):
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), LIF(), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*layers).to(dtype)


def images(dtype=torch.float32):
    return torch.randn(B, 2, 6, 6, generator=torch.Generator().manual_seed(1)).to(dtype)


def step(name, model, x, **settings):
    """Logits and gradients."""
    out = create_method(name, T, **settings).step(model, x, LABELS)
    return [out.logits, *(parameter.grad for parameter in model.parameters())]


def same(found, expected):
    return all(torch.equal(mine, plain) for mine, plain in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_before_the_first_neuron_a_static_image_is_computed_once(name):
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), LIF(), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(12, 3)
    )
    computed = {2: 0, 3: 0}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten.convolution.default:
                computed[args[0].shape[1]] += len(args[0])
            return function(*args, **(kwargs or {}))

    method = create_method(name, T)
    with Watch():
        method.predict(model, images())
    assert computed == {2: B, 3: T * B}
    with Watch():
        method.step(model, images(), LABELS)
    propagates_each_step = name in ("bptt_s", "sltt", "ottt")
    assert computed[2] == B + (T * B if propagates_each_step else B)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.complex64], ids=str)
def test_images_that_are_not_floating_point_are_refused_with_a_remedy(dtype):
    method, x = create_method("bptt", T), torch.ones(B, 2, 6, 6, dtype=dtype)
    for run in (lambda: method.step(network(), x, LABELS), lambda: method.predict(network(), x)):
        with pytest.raises(TypeError, match=rf"floating point, got {dtype}; divide uint8 by 255"):
            run()


def test_images_that_are_not_a_tensor_are_refused():
    with pytest.raises(TypeError, match="images must be a tensor, got ndarray"):
        create_method("bptt", T).predict(network(), images().numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_under_fp32_images_of_another_type_are_converted_to_float32(dtype):
    x, method = images(dtype), create_method("rate_m", T)
    assert same(step("rate_m", network(), x), step("rate_m", network(), x.float()))
    assert torch.equal(method.predict(network(), x), method.predict(network(), x.float()))


@pytest.mark.parametrize("name", METHODS)
def test_under_fp32_a_network_in_float64_stays_in_float64(name):
    expected = step(name, network(torch.float64), images().double())
    assert expected[0].dtype == torch.float64
    assert same(step(name, network(torch.float64), images()), expected)


@pytest.mark.parametrize("size", [(B,), (B, 6, 6), (1, T, B, 2, 6, 6)], ids=str)
def test_images_of_another_shape_are_refused_with_those_that_are_taken(size):
    with pytest.raises(ValueError, match=r"\[B, C, H, W\], \[T, B, C, H, W\] or \[B, N\], got the shape"):
        create_method("bptt", T).predict(network(), torch.ones(size))


@pytest.mark.parametrize("size", [(0, 2, 6, 6), (T, 0, 2, 6, 6), (B, 2, 0, 6), (0, 72), (B, 0)], ids=str)
def test_an_empty_batch_is_a_value_error(size):
    method = create_method("bptt", T)
    with pytest.raises(ValueError, match="the batch is empty"):
        method.step(network(), torch.ones(size), LABELS[:0])
    with pytest.raises(ValueError, match="the batch is empty"):
        method.predict(network(), torch.ones(size))


@pytest.mark.parametrize("timesteps", [2.5, 2.0, True, "4", None, torch.tensor(2)], ids=repr)
def test_a_number_of_timesteps_that_is_not_whole_is_a_type_error(timesteps):
    for make in (create_method, lambda name, steps: METHODS[name](steps)):
        for name in METHODS:
            with pytest.raises(TypeError, match="timesteps must be a whole number"):
                make(name, timesteps)
    if timesteps is not None:
        with pytest.raises(TypeError, match="timesteps must be a whole number"):
            create_method("bptt", T).predict(network(), images(), timesteps=timesteps)


def test_a_prediction_may_have_another_number_of_timesteps_than_training():
    method, model = create_method("rate_m", T), network()
    logits = method.predict(model, images(), timesteps=7)
    assert logits.shape == (7, B, 3)
    torch.testing.assert_close(logits[:T], method.predict(model, images()))


@pytest.mark.parametrize(("name", "precision"), [*((name, "fp32") for name in METHODS), ("rate_m", "bf16")])
def test_autocast_around_a_step_changes_nothing(name, precision):
    expected = step(name, network(), images(), precision=precision)
    predicted = create_method(name, T, precision=precision).predict(network(), images())
    with torch.autocast("cpu", torch.bfloat16):
        found = step(name, network(), images(), precision=precision)
        assert torch.equal(create_method(name, T, precision=precision).predict(network(), images()), predicted)
        assert torch.is_autocast_enabled("cpu")
    assert same(found, expected)


@pytest.mark.parametrize("number", [numpy.float64(2.5), numpy.float32(2.5), numpy.int64(2)], ids=repr)
def test_numpy_numbers_scale_spikes_like_python_numbers(number):
    class Scaled(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.layers, self.by = network(), by

        def forward(self, x):
            return self.layers[4](self.layers[:4](self.by * x) * self.by + self.by * 0 - self.by)

    assert same(step("rate_s", Scaled(number), images()), step("rate_s", Scaled(float(number)), images()))


@pytest.mark.filterwarnings("ignore:For backward hooks to be called")  # torch says so, too
@pytest.mark.parametrize("register", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_backward_hooks_of_modules_give_a_warning_and_those_of_parameters_run(register):
    model, calls = network(), []
    getattr(model[1], register)(lambda *args: calls.append("module"))
    model[0].weight.register_hook(lambda grad: calls.append("weight"))
    with pytest.warns(UserWarning, match=r"backward hooks never run in a step.*: 1\. Hooks on parameters do"):
        step("bptt", model, images())
    assert set(calls) == {"weight"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step("bptt", network(), images())


def normalised(how):
    model = network()
    model[4] = how(model[4])
    return model


def test_spectral_norm_takes_one_power_iteration_in_a_step_of_rate_s():
    """As in rate_m, which has the same gradient if no neuron and no batch norm precedes the layer."""
    models = [nn.Sequential(nn.Flatten(), parametrizations.spectral_norm(nn.Linear(72, 3))) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    found = [step(name, model, images()) for name, model in zip(("rate_s", "rate_m"), models, strict=True)]
    torch.testing.assert_close([*found[0], *models[0].buffers()], [*found[1], *models[1].buffers()])


def test_in_rate_s_parametrised_weights_do_not_change_the_gradients_of_other_layers():
    found, plain = (step("rate_s", model, images()) for model in (normalised(parametrizations.weight_norm), network()))
    torch.testing.assert_close(found[:5], plain[:5], rtol=1e-4, atol=1e-6)


def test_only_rate_s_refuses_the_old_spectral_norm():
    for name in METHODS:
        model = normalised(spectral_norm)
        if name != "rate_s":
            step(name, model, images())
            continue
        with pytest.raises(ValueError, match=r"4: .*use torch\.nn\.utils\.parametrizations\.spectral_norm"):
            step(name, model, images())
