"""The networks by name: sizes, shapes, order of the parameters, initial weights."""

import pytest
import torch
from torch import nn

from rbp_engine.models import MODELS, create_model
from rbp_engine.spiking import LIF, SequenceTensor

PARAMETERS = {
    # weights and batch norms of a CIFAR ResNet-18 with a linear head 512→10
    "resnet18": (3, 11_173_962),
    # convolutions with bias 10,990,208, batch norms 2·3008, linear 5130
    "vgg11": (3, 11_001_354),
    # convolutions 288 + 18,432 + 73,728, batch norms 2·224, linear 512·10 + 10
    "convnet": (1, 98_026),
}
NEURONS = {"resnet18": 17, "vgg11": 8, "convnet": 3}
SIZES = {"resnet18": (32, 28, 9), "vgg11": (32, 48), "convnet": (8, 28)}


def make(name, **settings):
    torch.manual_seed(0)
    return create_model(name, num_classes=10, in_channels=PARAMETERS[name][0], **settings)


def test_every_model_is_tested():
    assert MODELS.keys() == PARAMETERS.keys() == NEURONS.keys() == SIZES.keys()


@pytest.mark.parametrize("name", MODELS)
def test_number_of_parameters_at_ten_classes(name):
    assert sum(parameter.numel() for parameter in make(name).parameters()) == PARAMETERS[name][1]


@pytest.mark.parametrize("name", MODELS)
def test_number_of_neuron_layers(name):
    assert sum(isinstance(module, LIF) for module in make(name).modules()) == NEURONS[name]


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in SIZES.items() for size in sizes])
@torch.no_grad()
def test_logits_have_one_row_per_image_for_every_image_size(name, size):
    model = make(name)
    x = torch.randn(2, PARAMETERS[name][0], size, size)
    assert model(x).shape == (2, 10)
    out = model(SequenceTensor(x, 3, static=True))
    assert out.shape == (2, 10)
    assert out.steps().shape == (3, 2, 10)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_classes_and_input_channels_are_free(name):
    model = create_model(name, num_classes=7, in_channels=2)
    assert model(torch.randn(2, 2, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_parameters_are_registered_in_the_order_of_execution(name):
    model = make(name)
    used = []

    def note(module, args):
        used.extend(id(parameter) for parameter in module.parameters(recurse=False))

    for module in model.modules():
        module.register_forward_pre_hook(note)
    model(torch.randn(2, PARAMETERS[name][0], 32, 32))
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    assert [names[key] for key in used] == [key for key, _ in model.named_parameters()]


def test_the_shortcut_of_a_residual_block_stands_last_in_its_block():
    block = make("resnet18").stages[2]
    names = [key for key, _ in block.named_parameters()]
    assert names[:6] == ["conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"]
    assert [key.split(".")[0] for key in names[6:]] == ["shortcut"] * 3


def test_only_a_block_that_changes_the_shape_has_parameters_in_its_shortcut():
    shortcuts = [len(list(block.shortcut.parameters())) for block in make("resnet18").stages]
    assert shortcuts == [0, 0, 3, 0, 3, 0, 3, 0]


@torch.no_grad()
def test_resnet_halves_the_image_three_times():
    sizes = []
    model = make("resnet18")
    for block in model.stages:
        block.register_forward_hook(lambda module, args, out: sizes.append(tuple(out.shape[1:])))
    model(torch.randn(1, 3, 32, 32))
    expected = [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2 + [(512, 4, 4)] * 2
    assert sizes == expected


def layers(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


def test_paper_init_draws_the_vggs_convolutions_and_linear_layers_from_a_normal_of_deviation_one_half():
    model = make("vgg11", init="paper")
    for layer in layers(model, (nn.Conv2d, nn.Linear)):
        count = layer.weight.numel()
        # Five standard errors of the mean and of the deviation.
        assert layer.weight.mean().item() == pytest.approx(0.0, abs=5 * 0.5 / count**0.5)
        assert layer.weight.std().item() == pytest.approx(0.5, abs=5 * 0.5 / (2 * count) ** 0.5)
        assert not layer.bias.any()


@pytest.mark.parametrize("name", ["resnet18", "convnet"])
def test_paper_init_leaves_torchs_own_where_the_paper_gives_no_deviation(name):
    for layer in layers(make(name, init="paper"), (nn.Conv2d, nn.Linear)):
        fan_in = layer.weight[0].numel()
        # torch's default is uniform in ±1/√fan_in.
        assert layer.weight.abs().max().item() <= fan_in**-0.5
        assert layer.weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)


@pytest.mark.parametrize("settings", [{}, {"init": "kaiming"}])
@pytest.mark.parametrize("name", MODELS)
def test_kaiming_init_is_the_default_by_fan_out_for_convolutions_and_fan_in_for_linear_layers(name, settings):
    for layer in layers(make(name, **settings), (nn.Conv2d, nn.Linear)):
        fan = layer.out_channels * layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else layer.in_features
        deviation = (2.0 / fan) ** 0.5
        assert layer.weight.std().item() == pytest.approx(
            deviation, abs=5 * deviation / (2 * layer.weight.numel()) ** 0.5
        )
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", MODELS)
def test_batch_norms_start_as_the_identity(name):
    for norm in layers(make(name, init="paper"), nn.BatchNorm2d):
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_decides_the_weights(name):
    first, second = make(name), make(name)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    third = create_model(name, num_classes=10, in_channels=PARAMETERS[name][0])
    assert not torch.equal(next(first.parameters()), next(third.parameters()))


@pytest.mark.parametrize("name", MODELS)
def test_neuron_settings_reach_every_neuron_and_each_has_its_own_surrogate(name):
    model = make(name, decay=0.5, threshold=0.7, reset="hard", v_reset=-0.1, detach_reset=False, surrogate="atan")
    neurons = layers(model, LIF)
    for neuron in neurons:
        settings = neuron.settings
        assert type(settings.pop("surrogate")).__name__ == "ATan"
        assert settings == {"decay": 0.5, "threshold": 0.7, "v_reset": -0.1, "detach_reset": False}
    assert len({id(neuron.surrogate) for neuron in neurons}) == len(neurons)


def test_an_unknown_model_is_a_value_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'resnet81'.*convnet.*resnet18.*vgg11"):
        create_model("resnet81", num_classes=10, in_channels=3)


@pytest.mark.parametrize("name", MODELS)
def test_an_unknown_init_is_a_value_error(name):
    with pytest.raises(ValueError, match="init"):
        make(name, init="xavier")


@pytest.mark.parametrize("name", MODELS)
def test_an_unknown_neuron_setting_is_a_type_error(name):
    with pytest.raises(TypeError, match="tau"):
        make(name, tau=2.0)


@pytest.mark.parametrize("name", MODELS)
def test_a_bad_neuron_setting_is_a_value_error(name):
    with pytest.raises(ValueError, match="decay"):
        make(name, decay=2.0)
