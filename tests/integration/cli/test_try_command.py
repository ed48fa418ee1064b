"""`rbp try` as a user runs it; the tests of `bench/inspection.py` cover its findings."""

from rbp_engine.bench.own_network import inspect, preset_for

NETS = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, *, num_classes, in_channels, neuron, activation=None):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.neuron = neuron()
        self.activation = getattr(torch, activation) if activation else None
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.neuron(self.conv(x)).mean((2, 3))
        return self.head(self.activation(x) if self.activation else x)
"""
TRY = ["try", "nets.py:Net", "--input", "1,8,8", "--classes", "3", "--batch", "4", "run.device=cpu"]


def test_the_costs_of_a_trainable_network_are_shown(rbp, write):
    write("nets.py", NETS)
    found = rbp.json(*TRY, "T=2", "train.kernel=eager")
    assert (found["missing"], found["neuron_layers"], found["parameters"]) == ([], 1, 55)
    assert [layer["layer"] for layer in found["layers"]] == ["conv", "head"]
    assert [method["method"] for method in found["methods"]] == ["bptt", "rate_m", "rate_s"]
    for method in found["methods"]:
        assert method["seconds"] > 0 and method["largest_timesteps"] != 0
        # None where the memory of so small a network is lost in the noise.
        assert method["largest_batch"] is None or method["largest_batch"] > 4


def test_a_network_of_a_library_is_tried_by_its_name(rbp):
    words = ("--input", "1,32,32", "--classes", "3", "--batch", "3", "run.device=cpu", "T=1", "train.kernel=eager")
    found = rbp.json("try", "torchvision:squeezenet1_1", *words)
    assert (found["missing"], found["neuron_layers"]) == ([], 26)
    assert found["notes"][0].startswith("torchvision:squeezenet1_1: 26 neurons in the place of:\n  26 × ReLU: ")


def test_the_example_is_written_once_and_can_be_trained(rbp_here):
    assert "next: rbp try nets.py:MyNet" in rbp_here("try", "--example").stderr
    assert "cannot write nets.py: File exists" in " ".join(rbp_here("try", "--example", code=2).stderr.split())
    loaded = preset_for(str(rbp_here.folder / "nets.py:MyNet"), [3, 8, 8], classes=3, batch=4, overrides=["T=2"])
    found = inspect(loaded)
    assert (found.missing, found.neuron_layers) == ((), 2)


def test_very_large_limits_are_not_counted_and_the_command_that_trains_it_has_what_was_tried(rbp, write):
    write("nets.py", NETS)
    done = rbp(*TRY, "T=2", "neuron.decay=0.5", "loss.label_smoothing=0.1")
    assert "more than 1000" in done.stdout
    command = "arch=nets.py:Net run.device=cpu T=2 neuron.decay=0.5 loss.label_smoothing=0.1"
    assert f"next: rbp train PRESET {command}, on a preset of your data" in " ".join(done.stderr.split())
    assert "Triton" not in done.stderr


def test_operations_without_a_rule_are_named_with_a_remedy(rbp, write):
    write("nets.py", NETS)
    done = rbp(*TRY, "model.args.activation=rrelu", code=1)
    assert "the network (Net)" in done.stdout and "put a neuron there" in done.stdout
    assert f"nets.py line {NETS.count(chr(10))}" in done.stdout


def test_wrong_arguments_are_explained(rbp_here, write):
    write("nets.py", NETS)
    for words in (("nots.py:Net",), ()):
        assert "rbp try --example writes" in " ".join(rbp_here("try", *words, code=2).stderr.replace("│", " ").split())
    assert "Did you mean 'Net'" in rbp_here("try", "nets.py:Nat", code=2).stderr
    assert "nets.py:MyNet" in rbp_here("try", "nets.py", code=2).stderr
    assert "channels, height and width" in rbp_here("try", "nets.py:Net", "--input", "3x32", code=2).stderr
