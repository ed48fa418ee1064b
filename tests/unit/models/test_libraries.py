"""Networks of torchvision, timm and SpikingJelly by name."""

import importlib
import importlib.util
import sys

import pytest
import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn

from rbp_engine.errors import SettingsError
from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.models.libraries import library_names
from rbp_engine.spiking import LIF
from rbp_engine.train.pretrained import read_weights, take

NEEDS_TIMM = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm is not installed: pip install 'rbp-tui[timm]'"
)


def made(name, in_channels=3, **settings):
    return create_model(name, num_classes=7, in_channels=in_channels, **settings)


@pytest.mark.parametrize(
    "name",
    [
        "torchvision:squeezenet1_1",
        "torchvision:shufflenet_v2_x0_5",
        "spikingjelly:sew_resnet18",
        pytest.param("timm:test_resnet", marks=NEEDS_TIMM),
    ],
)
@pytest.mark.parametrize(("channels", "method"), [(1, "rate_m"), (3, "rate_m"), (3, "bptt")])
def test_a_librarys_network_takes_the_channels_and_classes_of_the_data_and_trains(name, channels, method):
    told = []
    network = made(name, channels, decay=0.6, notify=told.append)
    neurons = [module for module in network.modules() if isinstance(module, LIF)]
    assert {neuron.decay for neuron in neurons} == {0.6}
    [report] = told
    assert report.startswith(f"{name}: {len(neurons)} neurons in the place of:\n")
    out = create_method(method, 2).step(network, torch.rand(2, channels, 32, 32), torch.tensor([0, 6]))
    assert out.logits.shape == (2, 7) and any(weight.grad is not None for weight in network.parameters())


def test_arguments_reach_the_constructor_and_a_wrong_one_is_a_setting():
    network = made("torchvision:squeezenet1_1", args={"dropout": 0.25})
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.25]
    with pytest.raises(SettingsError, match=r"squeezenet1_1 cannot be built with model\.args = \{width = 3\}: .*width"):
        made("torchvision:squeezenet1_1", args={"width": 3})


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(SettingsError, match=r"'resnet81'\. Did you mean 'resnet18'\?"):
        made("torchvision:resnet81")
    with pytest.raises(SettingsError, match=r"'sew_resnet_18'\. Did you mean 'sew_resnet18'\?"):
        made("spikingjelly:sew_resnet_18")
    with pytest.raises(SettingsError, match="torchvision has no network for images called 'fasterrcnn_resnet50_fpn'"):
        made("torchvision:fasterrcnn_resnet50_fpn")


@NEEDS_TIMM
def test_an_unknown_tag_of_timm_is_refused_with_the_nearest_one():
    with pytest.raises(SettingsError, match=r"'resnet18\.a9_in1k'\. Did you mean 'resnet18\..*in1k'\?"):
        made("timm:resnet18.a9_in1k")


def test_without_the_library_the_message_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    with pytest.raises(SettingsError, match=r"^timm:resnet18 needs timm: pip install 'rbp-tui\[timm\]'$"):
        made("timm:resnet18")


def test_the_names_of_a_library_are_its_networks_for_images():
    assert {"resnet18", "densenet121", "vit_b_16"} <= {*library_names("torchvision")}
    assert not {"fcn_resnet50", "r3d_18"} & {*library_names("torchvision")}
    assert {"sew_resnet18", "spiking_vgg11_bn"} <= {*library_names("spikingjelly")}


def test_a_network_that_repeats_its_image_is_made_for_one_timestep():
    network = made("spikingjelly:spikformer_cifar10")
    logits = create_method("bptt", 3).predict(network, torch.rand(2, 3, 32, 32))
    assert logits.shape == (3, 2, 7)


@pytest.mark.parametrize("name", ["sew_resnet.sew_resnet18", "spikformer.spikformer_cifar10"])
def test_weights_that_spikingjelly_saved_fit_but_for_a_head_of_other_classes(tmp_path, name):
    file, called = name.split(".")
    make = getattr(importlib.import_module(f"spikingjelly.activation_based.model.{file}"), called)
    theirs = make(num_classes=9, spiking_neuron=LIFNode, **({"cnf": "ADD"} if file == "sew_resnet" else {"T": 4}))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    told = take(read_weights(tmp_path / "w.pth"), made(f"spikingjelly:{called}"), "w.pth")
    head = "fc" if file == "sew_resnet" else "head"
    there, here = (f"{head}.{one}" for one in ("weight", "bias"))
    taken, _, left = told.partition("; of another shape and left as drawn: ")
    assert taken == f"{len(theirs.state_dict()) - 2} tensors taken"
    assert left.startswith(f"{there} (") and f", {here} (" in left and "not in the file" not in left
