"""The networks by name: sizes, shapes, order of the parameters, initial weights."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from rbp_engine.models import MODELS, create_model
from rbp_engine.spiking import LIF, SequenceTensor
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.neuron import LIFNeurons

# The others are in test_membrane_shortcuts.py.
NAMES = [name for name in MODELS if not name.startswith(("ms_resnet", "max", "sdt"))]
# As in the paper: widths of 3×3 convolutions; A is a 2×2 average pool, AA and AA3 are adaptive ones to 1 and 3.
PLAIN = {
    "convnet": "32-A-64-A-128-AA3",
    "vgg11": "64-A-128-256-A-512-512-A-512-A-512-512-AA",
    "vgg13": "64-64-A-128-128-A-256-256-A-512-512-512-A-512-AA",
    "vggsnn_cifar": "64-128-A-256-256-A-512-512-A-512-512-AA3",
    "vggsnn_dvs": "64-128-A-256-256-A-512-512-A-512-512-A",
}
FEATURES = {"convnet": 1152, "vgg11": 512, "vgg13": 512, "vggsnn_cifar": 4608, "vggsnn_dvs": 4608}


class Known(NamedTuple):
    channels: int
    parameters: int  # at ten classes
    neurons: int  # layers of them
    sizes: tuple[int, ...]  # the first one is the network's own


KNOWN = {
    # convolutions 288 + 18,432 + 73,728, batch norms 2·224, linear 11,530
    "convnet": Known(1, 104_426, 3, (28, 8)),
    # weights and batch norms of a CIFAR ResNet-18 with a linear head 512→10
    "resnet18": Known(3, 11_173_962, 17, (32, 28, 9)),
    # convolutions 12,389,760, shortcuts 163,840, batch norms 2·5248, linear 131,328 + 2570
    "resnet19": Known(3, 12_697_994, 18, (32, 9)),
    # convolutions with bias 10,990,208, batch norms 2·3008, linear 5130
    "vgg11": Known(3, 11_001_354, 8, (32, 48)),
    # convolutions with bias 9,404,992, batch norms 2·2944, linear 5130
    "vgg13": Known(3, 9_416_010, 10, (32, 48)),
    # convolutions with bias 9,220,480, batch norms 2·2752, linear 46,090
    "vggsnn_cifar": Known(3, 9_272_074, 8, (32, 28)),
    # the same without the stem's third colour, 576 weights
    "vggsnn_dvs": Known(2, 9_271_498, 8, (48,)),
    # torchvision's ResNet-34 at ten classes has 21,289,802; here biases, one for each of the 8512 channels
    # neurons: the stem, 2·16 in blocks, 3 in shortcuts
    "sew_resnet34": Known(3, 21_298_314, 36, (64, 33)),
    "preact_resnet34": Known(3, 21_298_314, 32, (64, 33)),
    # published: 9.32, 2.57 and at 1000 classes 16.81, 29.68 and 66.34 million, with biases before batch norms
    # neurons: 5 in patch splitting, 5 in a block
    "spikformer_digits": Known(1, 162_754, 15, (8, 9)),
    "spikformer_mnist": Known(1, 162_754, 15, (9,)),
    "spikformer_4_384": Known(3, 9_310_906, 25, (9,)),
    "spikformer_2_256": Known(2, 2_563_594, 15, (33,)),
    "spikformer_8_384": Known(3, 16_416_442, 45, (33,)),
    "spikformer_8_512": Known(3, 29_156_938, 45, (33,)),
    "spikformer_8_768": Known(3, 65_540_458, 45, (33,)),
    # neurons: one in each convolution and shortcut, 5 in a block
    # published: 6.706 and 1.504 million, and at 1000 classes 16.47, 29.08 and 64.96, with biases, too
    "qkformer_digits": Known(1, 125_882, 16, (8, 9)),
    "qkformer_4_384": Known(3, 6_699_898, 29, (9,)),
    "qkformer_2_256": Known(2, 1_502_986, 18, (33,)),
    "qkformer_10_384": Known(3, 16_073_530, 60, (33,)),
    "qkformer_10_512": Known(3, 28_546_122, 60, (33,)),
    "qkformer_10_768": Known(3, 64_163_434, 60, (33,)),
}
# Other sizes of a network that is tested whole: only their layers are, since drawing their weights takes seconds.
OTHER_SIZES = {name for name in NAMES if "former" in name and not name.endswith("_digits")}


def make(name, **settings):
    torch.manual_seed(0)
    channels = KNOWN[name].channels if name in KNOWN else 3
    return create_model(name, num_classes=10, in_channels=channels, **settings)


@pytest.fixture(scope="module", params=[name for name in NAMES if name not in OTHER_SIZES])
def fresh(request):
    """Each network once with its weights, for tests that change nothing."""
    return request.param, make(request.param)


def outline(name, **settings):
    """The same network without weights, for properties that do not need them."""
    with torch.device("meta"):
        return make(name, **settings)


def test_every_model_is_tested():
    assert set(NAMES) == KNOWN.keys()


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_parameters_at_ten_classes_and_of_neuron_layers(name):
    model = outline(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == KNOWN[name].parameters
    assert sum(isinstance(module, LIF) for module in model.modules()) == KNOWN[name].neurons


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_network_has_the_layers_of_the_paper_in_order(name):
    expected = []
    for layer in PLAIN[name].split("-"):
        if layer.isdigit():
            expected += [("conv", int(layer)), ("norm", int(layer)), ("neuron",)]
        else:
            expected.append({"A": ("average", 2), "AA": ("adaptive", 1), "AA3": ("adaptive", 3)}[layer])
    expected += [("flatten",), ("linear", FEATURES[name], 10)]

    def describe(layer):
        match layer:
            case nn.Conv2d():
                assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
                assert (layer.bias is None) == (name == "convnet")
                return "conv", layer.out_channels
            case nn.BatchNorm2d():
                return "norm", layer.num_features
            case nn.AvgPool2d():
                return "average", layer.kernel_size
            case nn.AdaptiveAvgPool2d():
                return "adaptive", layer.output_size
            case nn.Linear():
                return "linear", layer.in_features, layer.out_features
        return ("neuron",) if isinstance(layer, LIF) else (type(layer).__name__.lower(),)

    assert [describe(layer) for layer in outline(name)] == expected


@torch.no_grad()
def test_logits_have_one_row_per_image_for_every_image_size(fresh):
    name, model = fresh
    for size in KNOWN[name].sizes:
        x = torch.randn(2, KNOWN[name].channels, size, size)
        out = model(SequenceTensor(Current.constant(x, 2)))
        assert out.shape == (2, 10)
        assert out.steps().shape == (2, 2, 10)


@torch.no_grad()
def test_parameters_are_registered_in_the_order_of_execution(fresh):
    name, model = fresh
    used = []

    def note(module, args):
        used.extend(id(parameter) for parameter in module.parameters(recurse=False))

    handles = [module.register_forward_pre_hook(note) for module in model.modules()]
    size = KNOWN[name].sizes[-1]
    model(torch.randn(2, KNOWN[name].channels, size, size))
    for handle in handles:
        handle.remove()
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    assert [names[key] for key in used] == [key for key, _ in model.named_parameters()]


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_classes_and_input_channels_can_be_chosen(name):
    size = KNOWN[name].sizes[-1] if name in KNOWN else 32
    with torch.device("meta"):
        model = create_model(name, num_classes=7, in_channels=4)
        assert model(torch.empty(2, 4, size, size)).shape == (2, 7)


def blocks(name, model):
    """The residual blocks in order."""
    return model.stages if name.startswith("resnet") else [layer for layer in model if hasattr(layer, "shortcut")]


STAGES = {
    "resnet18": [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2 + [(512, 4, 4)] * 2,
    "resnet19": [(128, 32, 32)] * 3 + [(256, 16, 16)] * 3 + [(512, 8, 8)] * 2,
    "sew_resnet34": [(64, 16, 16)] * 3 + [(128, 8, 8)] * 4 + [(256, 4, 4)] * 6 + [(512, 2, 2)] * 3,
    "preact_resnet34": [(64, 16, 16)] * 3 + [(128, 8, 8)] * 4 + [(256, 4, 4)] * 6 + [(512, 2, 2)] * 3,
}


@pytest.mark.parametrize("name", STAGES)
@torch.no_grad()
def test_a_residual_network_halves_the_image_from_stage_to_stage(name):
    sizes = []
    model = outline(name)
    for block in blocks(name, model):
        block.register_forward_hook(lambda module, args, out: sizes.append(tuple(out.shape[1:])))
    model(torch.empty(1, 3, KNOWN[name].sizes[0], KNOWN[name].sizes[0], device="meta"))
    assert sizes == STAGES[name]


@pytest.mark.parametrize(
    ("name", "stem", "block"),
    [
        ("sew_resnet34", ["Conv2d", "BatchNorm2d", "LIF", "MaxPool2d"], "SEWBlock"),
        ("preact_resnet34", ["Conv2d", "BatchNorm2d", "MaxPool2d"], "PreActBlock"),
    ],
)
def test_only_sew_imagenet_networks_have_a_neuron_in_the_stem_and_none_has_one_after_the_last_block(name, stem, block):
    model = outline(name)
    assert [type(layer).__name__ for layer in model] == [*stem, *[block] * 16, "AdaptiveAvgPool2d", "Flatten", "Linear"]
    pool = model[len(stem) - 1]
    assert (model[0].kernel_size, model[0].stride, model[0].padding) == ((7, 7), (2, 2), (3, 3))
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)


def written_out(name, block, x):
    """A residual block as the paper describes it, on plain tensors of one step."""
    if name.startswith("resnet"):
        out = block.bn2(block.conv2(block.neuron1(block.bn1(block.conv1(x)))))
        return block.neuron2(out + block.shortcut(x))
    if name == "sew_resnet34":
        return block.neuron2(block.bn2(block.conv2(block.neuron1(block.bn1(block.conv1(x)))))) + block.shortcut(x)
    return block.bn2(block.conv2(block.neuron2(block.bn1(block.conv1(block.neuron1(x)))))) + block.shortcut(x)


@pytest.mark.parametrize("place", ["same shape", "shape changes"])
@pytest.mark.parametrize("name", STAGES)
@torch.no_grad()
def test_a_block_adds_before_or_after_its_neuron_according_to_its_family(name, place):
    torch.manual_seed(0)
    kind = type(blocks(name, outline(name))[0])
    block = kind(4, 4, 1, LIF) if place == "same shape" else kind(4, 6, 2, LIF)
    x = torch.bernoulli(torch.full((2, 4, 6, 6), 0.4))
    out = block(x)
    for neuron in layers(block, LIF):
        neuron.reset()
    assert torch.equal(out, written_out(name, block, x))
    # Only the post-activation block ends in spikes; SEW adds spikes to spikes; PreAct ends in a current.
    values = set(out.unique().tolist())
    if name == "sew_resnet34":
        assert values == {0.0, 1.0, 2.0}
    else:
        assert (values == {0.0, 1.0}) == name.startswith("resnet")


def layers(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", [name for name in PLAIN if name.startswith("vgg")])
def test_paper_init_of_vggs_is_normal_with_deviation_one_half(name):
    model = make(name, init="paper")
    for layer in layers(model, (nn.Conv2d, nn.Linear)):
        count = layer.weight.numel()
        # Within five standard errors of the mean and of the deviation.
        assert layer.weight.mean().item() == pytest.approx(0.0, abs=5 * 0.5 / count**0.5)
        assert layer.weight.std().item() == pytest.approx(0.5, abs=5 * 0.5 / (2 * count) ** 0.5)
        assert not layer.bias.any()


@pytest.mark.parametrize("name", ["resnet18", "resnet19", "convnet"])
def test_paper_init_keeps_torchs_own_if_the_paper_gives_no_deviation(name):
    for layer in layers(make(name, init="paper"), (nn.Conv2d, nn.Linear)):
        fan_in = layer.weight[0].numel()
        # torch's default is uniform in ±1/√fan_in.
        assert layer.weight.abs().max().item() <= fan_in**-0.5
        assert layer.weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)


def same_weights(model, other):
    return all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))


def test_paper_init_is_kaiming_by_fan_out_for_the_imagenet_networks_and_not_for_the_others():
    for name, expected in (("sew_resnet34", True), ("preact_resnet34", True), ("convnet", False)):
        assert same_weights(make(name, init="paper"), make(name, init="kaiming")) == expected


def test_kaiming_init_is_by_fan_out_for_convolutions_and_fan_in_for_linear_layers(fresh):
    for layer in layers(fresh[1], (nn.Conv2d, nn.Linear)):
        fan = layer.out_channels * layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else layer.in_features
        deviation = (2.0 / fan) ** 0.5
        assert layer.weight.std().item() == pytest.approx(
            deviation, abs=5 * deviation / (2 * layer.weight.numel()) ** 0.5
        )
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", MODELS)
def test_neuron_settings_reach_every_neuron_and_each_has_its_own_surrogate(name):
    model = outline(name, decay=0.5, threshold=0.7, reset="hard", v_reset=-0.1, detach_reset=False, surrogate="atan")
    neurons = layers(model, LIF)
    for neuron in neurons:
        assert type(neuron.surrogate).__name__ == "ATan"
        assert neuron.neurons == LIFNeurons(0.5, 0.7, -0.1, False, neuron.surrogate)
    assert len({id(neuron.surrogate) for neuron in neurons}) == len(neurons)


def test_an_unknown_model_is_a_value_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'resnet81'.*convnet.*vgg11.*resnet18"):
        create_model("resnet81", num_classes=10, in_channels=3)


def test_an_unknown_init_is_a_value_error():
    for name in NAMES:
        with pytest.raises(ValueError, match="init"):
            outline(name, init="xavier")


def test_weights_of_convolutions_are_channels_last_also_in_users_networks(tmp_path):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def both(num_classes, in_channels, neuron):\n"
        "    return nn.ModuleList([nn.Conv2d(in_channels, 4, 3), nn.Conv3d(2, 2, 3)])\n"
    )
    model = create_model("nets.py:both", num_classes=2, in_channels=3, own_code=tmp_path)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[1].weight.is_contiguous()
