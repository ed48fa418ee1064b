"""Networks with activations, or with SpikingJelly's neurons, become ours."""

import importlib
from functools import partial

import pytest
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF, make_spiking


def neurons(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, LIF)}


def test_every_activation_of_a_plain_network_becomes_a_neuron_and_the_rest_is_reported():
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4), nn.ReLU(inplace=True), nn.Sigmoid())
    network.append(nn.Softmax(-1))
    same, report = make_spiking(network, partial(LIF, decay=0.5))
    assert same is network
    assert list(neurons(network)) == ["1", "3"]
    assert {neuron.decay for neuron in neurons(network).values()} == {0.5}
    assert [(part.kind, part.path) for part in report.kept] == [
        ("LayerNorm", "2"), ("Sigmoid", "4"), ("Softmax", "5"),
    ]  # fmt: skip
    assert str(report).splitlines()[:3] == ["2 neurons in the place of:", "  1 × GELU: 1", "  1 × ReLU: 3"]


def test_a_module_with_two_names_becomes_two_neurons():
    shared = nn.ReLU()
    network = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    make_spiking(network)
    assert network[1] is not network[3]
    assert list(neurons(network)) == ["1", "3"]


def test_what_computes_weights_from_positions_keeps_its_activations():
    network = nn.Sequential()
    network.add_module("cpb_mlp", nn.Sequential(nn.Linear(2, 4), nn.ReLU()))
    network.add_module("act", nn.ReLU())
    _, report = make_spiking(network)
    assert list(neurons(network)) == ["act"]
    assert [(part.path, part.note) for part in report.kept] == [("cpb_mlp", "gets positions and no spikes")]


def timm_layers():
    return pytest.importorskip("timm.layers", reason="timm is not installed: pip install 'rbp-tui[timm]'")


def test_timms_norms_with_an_activation_as_a_child_keep_their_statistics():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), timm_layers().BatchNormAct2d(8), nn.Flatten(), nn.Linear(8 * 16, 3))
    state = list(network.state_dict())
    _, report = make_spiking(network)
    assert list(neurons(network)) == ["1.act"]
    assert list(network.state_dict()) == state
    assert [part.kind for part in report.replaced] == ["ReLU"]
    create_method("rate_m", timesteps=2).step(network, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
    assert network.state_dict()["1.num_batches_tracked"] == 1


def test_a_module_of_ones_own_that_is_an_activation_of_torch_becomes_a_neuron():
    for kind in (nn.ReLU, nn.ReLU6):
        network, report = make_spiking(nn.Sequential(type("Own", (kind,), {})()))
        assert list(neurons(network)) == ["0"]
        assert report.replaced[0].kind == "Own"


@pytest.mark.parametrize("name", ["Swish", "SwishMe", "HardMishMe", "GELUTanh", "QuickGELU", "PReLU"])
def test_timms_own_activations_become_neurons(name):
    timm_layers()
    module = getattr(importlib.import_module(f"timm.layers.activations{'_me' if name.endswith('Me') else ''}"), name)()
    network, report = make_spiking(nn.Sequential(module))
    assert list(neurons(network)) == ["0"]
    assert report.replaced[0].note == ("its weights are gone" if name == "PReLU" else "")


def test_torchs_transformer_has_no_fast_path_past_its_neuron():
    network = nn.TransformerEncoderLayer(8, 2, 16, activation="relu", batch_first=True)
    make_spiking(network)
    assert list(neurons(network)) == ["activation"]
    fired = []
    network.get_submodule("activation").register_forward_hook(lambda module, given, out: fired.append(out))
    with torch.no_grad():
        network.eval()(torch.rand(2, 3, 8))
    assert len(fired) == 1
