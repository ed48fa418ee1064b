"""Operations without a rule are refused with the name of the operation and the path of the module that used it."""

import operator

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based.neuron import IFNode, LIFNode, ParametricLIFNode
from torch import nn

from rbp_engine.spiking import RateTensor, SequenceTensor, UnsupportedOperation

T, B = 3, 2


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Network(nn.Module):
    """The layer under test is `features.block.1`; it sees [B, 4, 4, 4]."""

    def __init__(self, layer):
        super().__init__()
        self.features = nn.ModuleDict({"block": nn.Sequential(nn.AvgPool2d(2), layer)})
        self.head = nn.Flatten()

    def forward(self, x):
        return self.head(self.features["block"](x))


def carrier(kind, timesteps=T):
    generator = torch.Generator().manual_seed(timesteps)
    x = torch.randn(timesteps, B, 4, 8, 8, generator=generator)
    sequence = SequenceTensor(x, timesteps)
    return RateTensor(sequence, x.mean(0)) if kind == "rate" else sequence


REFUSED = {
    "relu": (nn.ReLU(), "relu"),
    "relu in place": (nn.ReLU(inplace=True), "relu_?"),
    "sigmoid": (nn.Sigmoid(), "sigmoid"),
    "softmax": (nn.Softmax(1), "softmax"),
    "group norm": (nn.GroupNorm(2, 4), "group_norm"),
    "instance norm": (nn.InstanceNorm2d(4), "instance_norm"),
    "layer norm": (nn.LayerNorm(4), "layer_norm"),
    "circular padding": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "pad"),
    "transposed convolution": (nn.ConvTranspose2d(4, 4, 3), "conv_transpose2d"),
    "flatten from the batch": (nn.Flatten(0), "flatten"),
    "flatten from the batch, counted from behind": (nn.Flatten(-4), "flatten"),
    "flatten without dimensions": (Apply(torch.flatten), "flatten"),
    "reshape that moves the batch": (Apply(lambda x: x.reshape(4, -1)), "reshape"),
    "reshape that folds the batch": (Apply(lambda x: x.reshape(-1)), "reshape"),
    "view that moves the batch": (Apply(lambda x: x.view(-1, 4)), "view"),
    "mean of everything": (Apply(lambda x: x.mean()), "mean"),
    "mean over the batch": (Apply(lambda x: x.mean(0)), "mean"),
    "mean over the batch among others": (Apply(lambda x: x.mean((0, 2))), "mean"),
    "mean over the batch, counted from behind": (Apply(lambda x: torch.mean(x, dim=-4)), "mean"),
    "mean over no dimensions": (Apply(lambda x: x.mean(())), "mean"),
    "sum of everything": (Apply(torch.sum), "sum"),
    "sum over the batch": (Apply(lambda x: x.sum(0)), "sum"),
    "cat along the batch": (Apply(lambda x: torch.cat([x, x])), "cat"),
    "cat along the batch, counted from behind": (Apply(lambda x: torch.cat([x, x], dim=-4)), "cat"),
    "cat with a plain tensor": (Apply(lambda x: torch.cat([x, torch.ones_like(x)], 1)), "cat"),
    "some of the batch": (Apply(lambda x: x[:1]), "getitem"),
    "a new dimension": (Apply(lambda x: x[None]), "getitem"),
    "indexing with a tensor": (Apply(lambda x: x[:, torch.tensor([0, 2])]), "getitem"),
    "one sample after the other": (Apply(list), "iter"),
    "stack": (Apply(lambda x: torch.stack([x, x], 1)), "stack"),
    "indices of the maximum": (nn.MaxPool2d(2, return_indices=True), "max_pool2d\\w*"),
    "indices of the adaptive maximum": (nn.AdaptiveMaxPool2d(2, return_indices=True), "adaptive_max_pool2d\\w*"),
    "add in place": (Apply(lambda x: x.add_(x)), "add_"),
    "mul in place": (Apply(lambda x: x.mul_(2.0)), "mul_"),
    "transpose": (Apply(lambda x: x.transpose(0, 1)), "transpose"),
    "permute": (Apply(lambda x: torch.permute(x, (1, 0, 2, 3))), "permute"),
    "maximum": (Apply(lambda x: torch.maximum(x, x)), "maximum"),
    "amax": (Apply(lambda x: x.amax((2, 3))), "amax"),
    "a tensor with time": (Apply(lambda x: x + torch.ones(T, B, 4, 4, 4)), "add"),
    "carriers of different rank": (Apply(lambda x: x + x.mean(3)), "add"),
}

REFUSED_FOR_THE_MEAN = {
    "product": (Apply(lambda x: x * x), "mul"),
    "product by method": (Apply(lambda x: x.mul(x)), "mul"),
    "product by function": (Apply(lambda x: torch.mul(x, x)), "mul"),
    "quotient": (Apply(lambda x: x / x), "(true)?div"),
    "quotient by function": (Apply(lambda x: torch.div(x, x)), "div"),
    "reciprocal": (Apply(lambda x: torch.div(torch.ones(()), x)), "div"),
    "division rounded down": (Apply(lambda x: torch.div(x, 0.3, rounding_mode="floor")), "div"),
    "same padding of an even kernel": (nn.Conv2d(4, 4, 2, padding="same"), "conv2d"),
}


def check_refused(layer, operation, kind):
    with pytest.raises(UnsupportedOperation, match=rf"features\.block\.1 \({type(layer).__name__}\): '{operation}' "):
        Network(layer)(carrier(kind))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("case", REFUSED)
def test_an_operation_without_a_rule_is_refused_with_its_name_and_the_modules_path(case, kind):
    check_refused(*REFUSED[case], kind)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", REFUSED_FOR_THE_MEAN)
def test_an_operation_that_does_not_commute_with_the_time_mean_is_refused_for_a_rate_tensor(case):
    check_refused(*REFUSED_FOR_THE_MEAN[case], "rate")


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_the_network_around_the_refused_layers_works_without_them(kind):
    """Otherwise the refusals could have another cause."""
    assert Network(nn.Identity())(carrier(kind)).shape == (B, 64)


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("shorter", [1, 3])
@pytest.mark.parametrize("operation", [operator.add, operator.sub, lambda x, y: torch.cat([x, y], 1)])
def test_sequences_of_different_length_are_a_value_error_that_names_both(operation, shorter, kind):
    with pytest.raises(ValueError, match=rf"T = \[{shorter}, 5\]"):
        operation(carrier(kind, shorter), carrier(kind, 5))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("operation", [operator.add, operator.sub, lambda x, y: torch.cat([x, y], 1)])
def test_static_sequences_of_different_length_are_a_value_error(operation, kind):
    images = [SequenceTensor(torch.ones(B, 4), timesteps, static=True) for timesteps in (3, 5)]
    if kind == "rate":
        images = [RateTensor(image, image.values()) for image in images]
    with pytest.raises(ValueError, match=r"T = \[3, 5\]"):
        operation(*images)


@pytest.mark.parametrize("operation", [operator.add, torch.add, lambda x, y: torch.cat([x, y], 1)])
def test_carriers_of_different_kinds_do_not_mix(operation):
    with pytest.raises(UnsupportedOperation):
        operation(carrier("rate"), carrier("sequence"))


def test_the_message_says_what_to_do():
    with pytest.raises(UnsupportedOperation, match=r"rbp_engine/spiking/rules\.py.* or add a rule"):
        F.relu(carrier("rate"))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SiLU()])
def test_where_an_activation_belongs_the_message_asks_for_a_neuron(activation):
    with pytest.raises(UnsupportedOperation, match="put a neuron there"):
        Network(activation)(carrier("rate"))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("node", [IFNode, LIFNode, ParametricLIFNode])
def test_a_neuron_of_spikingjelly_is_named_with_what_to_put_in_its_place(node, step_mode, kind):
    message = rf"features\.block\.1 \({node.__name__}\): .* put rbp_engine\.spiking\.LIF\(\) there$"
    with pytest.raises(UnsupportedOperation, match=message):
        Network(node(step_mode=step_mode))(carrier(kind))


def test_outside_a_module_the_message_says_so():
    with pytest.raises(UnsupportedOperation, match="outside any module: 'relu'"):
        F.relu(carrier("sequence"))


def test_if_the_network_itself_is_the_module_it_is_called_the_network():
    with pytest.raises(UnsupportedOperation, match=r"the network \(ReLU\): 'relu'"):
        nn.ReLU()(carrier("rate"))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_adding_in_place_by_operator_makes_a_new_carrier(kind):
    x = carrier(kind)
    original, before = x, (x.sequence.values() if kind == "rate" else x.values()).clone()
    x += x
    assert x is not original
    assert torch.equal(original.sequence.values() if kind == "rate" else original.values(), before)


@pytest.mark.parametrize("kind", ["rate", "sequence"])
@pytest.mark.parametrize("misuse", [lambda x: x[0], iter, lambda x: x @ x, float])
def test_a_carrier_is_neither_a_sequence_nor_a_number(misuse, kind):
    with pytest.raises(TypeError):
        misuse(carrier(kind))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_an_attribute_that_tensors_lack_is_an_attribute_error(kind):
    with pytest.raises(AttributeError, match="no attribute 'spikes'"):
        carrier(kind).spikes  # noqa: B018


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.Linear(8, 4)])
def test_weights_are_never_cast_to_integers(layer):
    with pytest.raises(RuntimeError, match="type"):
        layer(SequenceTensor(torch.ones(T, B, 4, 8, 8, dtype=torch.uint8), T))
