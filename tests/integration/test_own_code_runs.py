"""A user's own network and data set in real runs, and the code of the how-tos in docs/."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
import torch
import torchvision
from spikingjelly.activation_based import functional, layer, neuron, surrogate

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.preset import load_preset
from tests.recorded_sets import write_cifar10_dvs

CHECKOUT = Path(__file__).parents[2]
NETS = """\
from torch import nn


def net(*, num_classes, in_channels, neuron, width=4):
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), neuron(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, num_classes),
    )
"""
SETS = """\
import torch

from rbp_engine.data.splits import DataSplits, Images


def halves(*, count=120):
    pixels = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    for image, label in zip(pixels, labels):
        image[0, :4] = 255 * label
    train, test = Images(pixels, labels), Images(pixels[:40], labels[:40])
    return DataSplits(train, test, classes=2, mean=(0.25,), deviation=(0.43,))
"""
METRICS = """\
def measure(run, model):
    run.log("epoch", run.epoch)
"""
LOSSES = """\
from torch.nn.functional import multi_margin_loss


def margin(logits, labels):
    return multi_margin_loss(logits, labels)
"""
PRESET = """\
[data]
name = "sets.py:halves"
args = { count = 80 }
batch_size = 20
[model]
name = "nets.py:net"
args = { width = 6 }
[method]
timesteps = 2
[train]
epochs = 1
[run]
device = "cpu"
"""


@pytest.fixture
def mine(rbp):
    """The folder of the command, with a network, a data set and a preset of the user's."""
    for name, text in {"nets.py": NETS, "sets.py": SETS, "mine.toml": PRESET}.items():
        (rbp.folder / name).write_text(text)
    return rbp.folder


def test_a_users_network_learns_a_users_data_set_and_the_run_keeps_copies(rbp, mine):
    (mine / "metrics.py").write_text(METRICS)
    (mine / "losses.py").write_text(LOSSES)
    probes = "probes.own=metrics.py:measure", "probes.health=true"
    rbp("train", "mine.toml", "--id", "first", "epochs=4", *probes, "loss.name=losses.py:margin")
    run = mine / "runs" / "first"
    assert rbp.summary("first")["last"]["top1"] > 0.9
    copies = {path.name: path.read_text() for path in (run / "code").glob("*.py")}
    assert copies == {"nets.py": NETS, "sets.py": SETS, "metrics.py": METRICS, "losses.py": LOSSES}
    assert 'name = "nets.py:net"' in (run / "preset.toml").read_text()
    (row,) = json.loads(rbp("report", "--json").stdout)["rows"]
    assert (row["data"], row["network"]) == ("sets.py:halves", "nets.py:net")
    events = rbp.events("first")
    assert [event["values"] for event in events if event["kind"] == "probe"] == [3.0]
    assert [event["step"] for event in events if event["kind"] == "health"] == [10]


def test_a_network_of_several_files_is_trained_by_two_processes_resumed_by_one_and_judged_by_its_copies(rbp, mine):
    rbp.environment["PYTHONPATH"] += f"{os.pathsep}{mine}"  # the originals could be imported
    (mine / "blocks").mkdir()
    (mine / "blocks" / "__init__.py").write_text("from .widths import WIDTH\n")
    (mine / "blocks" / "widths.py").write_text("import nets\n\nWIDTH = 6\n")
    (mine / "nets.py").write_text(f"from blocks import WIDTH\n{NETS.replace('width=4', 'width=WIDTH')}")
    rbp("train", "mine.toml", "model.args={}", "--nproc", "2", "--id", "first", "guard.max_steps=2", code=4)
    copies = {str(path.relative_to(mine / "runs/first/code")) for path in (mine / "runs/first/code").rglob("*.py")}
    assert copies == {"nets.py", "sets.py", "blocks/__init__.py", "blocks/widths.py"}
    stopped = rbp.summary("first")
    assert (stopped["step"], stopped["cause"]) == (2, "budget")
    assert "started on cpu" in rbp("logs", "first", "--rank", "1").stdout
    refused = rbp("resume", "first", "--nproc", "1", "guard.max_steps=0", code=2).stderr
    assert "use --nproc 2, or allow it with --inexact" in refused
    (mine / "nets.py").unlink()
    for other in ("sets.py", "blocks/widths.py"):
        (mine / other).write_text("raise SystemExit('not this one')\n")
    rbp("resume", "first", "--nproc", "1", "--inexact", "guard.max_steps=0")
    again = [event for event in rbp.events("first") if event["attempt"] == 2]
    (start,) = [event for event in again if event["kind"] == "run_start"]
    assert (start["step"], start["exact"], start["world_size"]) == (2, False, 1)
    assert any("trained by 2 processes so far, by 1 from here on" in event.get("message", "") for event in again)
    done = rbp.summary("first")
    assert (done["status"], done["experiment"]) == ("completed", stopped["experiment"])
    rbp("eval", "first")


def test_a_run_without_a_compiled_kernel_does_not_wait_for_the_import_of_the_compiler(rbp, mine):
    rbp.environment["PYTHONPROFILEIMPORTTIME"] = "1"  # makes Python write every import to stderr
    rbp("train", "mine.toml", "--id", "eager")
    imports = (mine / "runs" / "eager" / "ranks" / "0" / "stderr.log").read_text()
    assert "torch.optim.sgd" in imports
    assert "torch._dynamo" not in imports


def test_a_run_is_not_gone_on_with_after_a_change_of_its_network(rbp, mine):
    rbp("train", "mine.toml", "--id", "kept")
    (mine / "nets.py").write_text(NETS + "# another\n")
    done = rbp("train", "mine.toml", "--id", "kept", "--resume-or-start", code=2)
    assert "kept is another experiment" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["model.name=gone.py:net"], 2, "cannot read gone.py: No such file or directory"),
        (["model.name=wrong.py:number"], 1, "wrong.py:number gave int, not a torch.nn.Module"),
        (["loss.name=losses.py:margin", "loss.label_smoothing=0.1"], 2, "losses.py:margin', which gets plain labels"),
        (["data.name=wrong.py:nothing"], 1, "wrong.py:nothing gave NoneType, not rbp_engine.data.splits.DataSplits"),
        (["model.name=wrong.py:rrelu"], 1, "'rrelu' has no rule for spikes over time"),
    ],
)
def test_mistakes_in_own_code_give_one_message(rbp, mine, words, code, message):
    (mine / "losses.py").write_text(LOSSES)
    (mine / "wrong.py").write_text(
        "from torch import nn\n"
        "def number(**settings): return 3\n"
        "def nothing(**settings): return None\n"
        "def rrelu(*, num_classes, in_channels, neuron, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.RReLU(), neuron(), nn.Linear(64, num_classes))\n"
    )
    done = rbp("train", "mine.toml", *words, code=code)
    assert message in done.stderr + done.stdout
    if code == 2:
        assert not (mine / "runs").exists()
    else:
        assert rbp.summary()["cause"] == "own_code"
        assert "Traceback (most recent call last)" in rbp("logs", "last").stdout


def written(page, folder):
    """Write the files of a page into a folder; returns the commands on it, one a line."""
    text = (CHECKOUT / "docs" / page).read_text()
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert len(files) >= 2
    for name, content in files.items():
        (folder / name).write_text(content)
    return "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", ["own-network.md", "own-neuron.md", "own-data.md"])
def test_the_how_to_works_as_written(page, rbp):
    commands = written(page, rbp.folder)
    assert commands.count("rbp train") == 3 - (page != "own-network.md")
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == "rbp", line
        rbp(*words)
    finished = rbp.summaries()
    assert [run["status"] for run in finished] == ["completed"] * commands.count("rbp train")
    assert page != "own-data.md" or all(run["last"]["top1"] > 0.9 for run in finished)


class TheirNet(torch.nn.Module):
    """The network of docs/moving-over.md before it was moved, at 3 timesteps."""

    def __init__(self):
        super().__init__()
        self.conv = layer.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm = layer.BatchNorm2d(16)
        self.fire = neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan())
        self.pool = layer.AvgPool2d(2)
        self.head = layer.Linear(256, 10)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = x.unsqueeze(0).repeat(3, 1, 1, 1, 1)
        x = self.pool(self.fire(self.norm(self.conv(x))))
        return self.head(x.flatten(2)).mean(0)


@pytest.fixture
def moved(rbp):
    """The commands of docs/moving-over.md, in a folder with its files and the weights that they name."""
    commands = written("moving-over.md", rbp.folder)
    torch.save({"net": TheirNet().state_dict(), "epoch": 3}, rbp.folder / "trained.pth")
    torch.save(torchvision.models.resnet18().state_dict(), rbp.folder / "resnet18.pth")
    return commands


def test_a_moved_network_computes_what_spikingjellys_did_with_its_weights_and_its_gradients(moved, rbp):
    preset = load_preset(str(rbp.folder / "mynet.toml")).preset
    theirs, settings = TheirNet(), preset.neuron.model_dump(exclude={"name", "args"})
    ours = create_model(preset.model.name, num_classes=10, in_channels=1, own_code=rbp.folder, **settings)
    ours.load_state_dict(theirs.state_dict())
    images, labels = torch.randn(6, 1, 8, 8), torch.arange(6)
    out = create_method("bptt", 3).step(ours, images, labels)
    logits = theirs(images)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.testing.assert_close(out.logits, logits.detach())
    for (name, mine), weight in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, weight.grad, msg=name)


def test_who_moves_over_can_type_every_command_of_the_page(moved, rbp):
    """With data that is here: images drawn at random, and two recordings of each class."""
    write_cifar10_dvs(rbp.folder / "data" / "cifar10_dvs", "aedat")
    fake = "data.args={shape=[3,32,32], classes=10, train_size=16, test_size=8}"
    images = ["data.name=fake", fake, "data.auto_augment=false", "epochs=1", "batch=8"]
    small = {
        "cifar10-resnet18": images,
        "cifar10-dvs-vggsnn": ["epochs=1", "T=2"],
        "mynet.toml": ["epochs=1", "T=2"],
    }
    for line in moved.splitlines():
        program, *words = shlex.split(line)
        assert program == "rbp"
        extra = small.get(words[1], []) if words[0] == "train" else []
        rbp(*words, *(["--repeats", "1", "train.kernel=eager"] if words[0] == "bench" else extra))
    assert [run["status"] for run in rbp.summaries()] == ["completed"] * moved.count("rbp train")
    logs = [log.read_text() for log in (rbp.folder / "runs").glob("*/ranks/0/stdout.log")]
    assert any("trained.pth: 8 tensors taken\n" in log for log in logs)
    head = "left as drawn: fc.weight ([1000, 512] there, [10, 512] here), fc.bias ([1000] there, [10] here)"
    assert any(f"resnet18.pth: 120 tensors taken; of another shape and {head}" in log for log in logs)
