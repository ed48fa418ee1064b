"""Operations without a rule are refused with the name of the operation and the path of the module that used it."""

import operator

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based.neuron import LIFNode, ParametricLIFNode
from torch import nn

from rbp_engine.spiking import RateTensor, SequenceTensor, UnsupportedOperation
from rbp_engine.spiking.current import Current

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


def carrier(kind="rate", timesteps=T):
    """The rule table refuses for all kinds alike."""
    generator = torch.Generator().manual_seed(timesteps)
    x = torch.randn(timesteps, B, 4, 8, 8, generator=generator)
    return (RateTensor if kind == "rate" else SequenceTensor)(Current.of(x))


REFUSED = {
    "local response norm": (nn.LocalResponseNorm(2), "local_response_norm"),
    "a random slope": (nn.RReLU(), "rrelu"),
    "mean of everything": (Apply(lambda x: x.mean()), "mean"),
    "indices of the maximum": (nn.MaxPool2d(2, return_indices=True), "max_pool2d\\w*"),
    "spikes as a weight": (Apply(lambda x: F.linear(torch.ones(4), weight=x)), "linear"),
    "an index that differs from step to step": (Apply(lambda x: torch.ones(2, 3)[:, x]), "_*getitem_*"),
    "assignment to a part of a plain tensor": (Apply(lambda x: operator.setitem(torch.ones(2), 0, x)), "_*setitem_*"),
    "in place into a plain tensor": (Apply(lambda x: torch.zeros(B, 4, 4, 4).add_(x)), "add_"),
    "in place without a rule": (Apply(lambda x: x.frac_()), "frac_"),
    "rounding": (Apply(lambda x: x.to(torch.int32)), "to"),
    "floor division": (Apply(lambda x: x // 2), "floordiv"),
    "comparison": (Apply(lambda x: x > 0.5), "gt"),
    "comparison with a tensor on the left": (Apply(lambda x: torch.ones(4) <= x), "[gl]e"),
    "equality": (Apply(lambda x: x == 1), "eq"),
    "inequality": (Apply(lambda x: x != torch.ones(4)), "ne"),
    "not": (Apply(lambda x: ~x), "invert"),
    "a branch": (Apply(lambda x: x and None), "bool"),
    "a number": (Apply(float), "float"),
    "an index": (Apply(lambda x: range(x)), "int"),
    "an attribute": (Apply(lambda x: x.real), "real"),
    "item": (Apply(lambda x: x.item()), "item"),
    "a tensor with time": (Apply(lambda x: x + torch.ones(T, B, 4, 4, 4)), "add"),
    "carriers of different rank": (Apply(lambda x: x + x.mean(3)), "add"),
}

REFUSED_FOR_THE_MEAN = {
    "division rounded down": (Apply(lambda x: torch.div(x, 0.3, rounding_mode="floor")), "div"),
    "same padding of an even kernel": (nn.Conv2d(4, 4, 2, padding="same"), "conv2d"),
}


def check_refused(layer, operation):
    with pytest.raises(UnsupportedOperation, match=rf"features\.block\.1 \({type(layer).__name__}\): '{operation}' "):
        Network(layer)(carrier())


@pytest.mark.parametrize("case", REFUSED)
def test_an_operation_without_a_rule_is_refused_with_its_name_and_the_modules_path(case):
    check_refused(*REFUSED[case])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", REFUSED_FOR_THE_MEAN)
def test_an_operation_that_does_not_commute_with_the_time_mean_is_refused_for_a_rate_tensor(case):
    check_refused(*REFUSED_FOR_THE_MEAN[case])


def test_the_network_around_the_refused_layers_works_without_them():
    """Otherwise the refusals could have another cause."""
    assert Network(nn.Identity())(carrier()).shape == (B, 64)


@pytest.mark.parametrize("operation", [operator.add, lambda x, y: torch.cat([x, y], 1)])
def test_sequences_of_different_length_are_a_value_error_that_names_both(operation):
    with pytest.raises(ValueError, match=r"T = \[1, 5\]"):
        operation(carrier(timesteps=1), carrier(timesteps=5))


def test_carriers_of_different_kinds_do_not_mix():
    with pytest.raises(UnsupportedOperation, match="carriers of different kinds"):
        torch.add(carrier("rate"), carrier("sequence"))


def test_the_message_names_the_line_of_the_network_and_not_of_torch_or_the_script():
    def place(x):
        return F.local_response_norm(x, 2)

    expected = rf"'local_response_norm' has no rule .*\({__name__.rpartition('.')[2]}.py line "
    with pytest.raises(UnsupportedOperation, match=rf"{expected}{place.__code__.co_firstlineno + 1}\)"):
        Network(Apply(place))(carrier())
    with pytest.raises(UnsupportedOperation) as raised:
        nn.LocalResponseNorm(2)(carrier())
    assert raised.value.line == ""


def test_where_no_rule_can_help_the_message_offers_none():
    with pytest.raises(UnsupportedOperation, match="the indices differ from step to step") as raised:
        torch.sort(carrier())
    assert "register_rule" not in str(raised.value)


@pytest.mark.parametrize(("node", "step_mode"), [(LIFNode, "m"), (ParametricLIFNode, "s")])
def test_a_neuron_of_spikingjelly_is_named_with_what_to_put_in_its_place(node, step_mode):
    message = rf"features\.block\.1 \({node.__name__}\): .* rbp_engine\.spiking\.make_spiking\(network\) puts LIF"
    with pytest.raises(UnsupportedOperation, match=message):
        Network(node(step_mode=step_mode))(carrier())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (F.rrelu, r"outside any module: 'rrelu' .*docs/own-network\.md lists .*rbp_engine\.spiking\.register_rule"),
        (nn.RReLU(), r"the network \(RReLU\): 'rrelu'"),
        (Network(nn.RReLU()), "put a neuron there"),
        (
            Network(nn.Sequential(nn.Flatten(2), nn.LSTM(16, 4))),
            r"features\.block\.1\.1 \(LSTM\): 'lstm' .*recurrent layers have no rule; put convolutions",
        ),
    ],
)
def test_the_message_says_where_it_is_and_what_to_do(call, message):
    with pytest.raises(UnsupportedOperation, match=message):
        call(carrier())


def test_an_attribute_that_tensors_lack_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'spikes'"):
        carrier().spikes  # noqa: B018


def test_an_attribute_without_a_rule_can_be_asked_for():
    x = carrier()
    assert not hasattr(x, "real")
    assert getattr(x, "grad_fn", None) is None
    assert (x.layout, x.is_sparse) == (torch.strided, False)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.Linear(4, 4)])
def test_a_layer_with_weights_needs_a_batch(layer):
    x = carrier()[0, 0, 0] if isinstance(layer, nn.Linear) else carrier()[0]
    with pytest.raises(UnsupportedOperation, match="has no batch dimension"):
        layer(x)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.Linear(8, 4)])
def test_weights_are_never_cast_to_integers(layer):
    with pytest.raises(RuntimeError, match="type"):
        layer(SequenceTensor(Current.of(torch.ones(T, B, 4, 8, 8, dtype=torch.uint8))))
