"""A user's own network or data set from a file: found, called, or refused with one message."""

import numbers
import py_compile
import random
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from rbp_engine.data.feed import Feed
from rbp_engine.data.open_feed import open_feed
from rbp_engine.errors import OwnCodeError
from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.spiking import LIF, OwnNeuron
from rbp_engine.spiking.surrogate import slope
from rbp_engine.user_code import call_own, is_own, load_own, place_in_own_code

NETS = """\
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, *, num_classes, in_channels, neuron, width=4):
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), neuron(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, num_classes),
        )

def built(**settings):
    return MyNet(**settings)

def number(**settings):
    return 3

three = 3
"""
SETS = """\
import torch
from rbp_engine.data.splits import DataSplits, Images

def noise(*, count=30, classes=3, channels=1, names=()):
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, 8, 8), dtype=torch.uint8, generator=draw)
    labels = torch.arange(count) % classes
    images = Images(pixels, labels)
    return DataSplits(images, images, classes, (0.5,) * channels, (0.25,) * channels, tuple(names))

def nothing():
    return None
"""


MINE = """\
import torch
from spikingjelly.activation_based.surrogate import ATan
from rbp_engine.spiking import OwnNeuron

class N(OwnNeuron):
    def __init__(self, beta=0.1):
        super().__init__()
        self.beta = beta
    def charge(self, state, current): return self.beta * state + current
    def fire(self, state): return state - 1.0
    def reset_by(self, state, spikes): return state - spikes.detach()

class Atan(ATan): ...
def slope(x, width=1.0): return (1 - abs(x) / width).clip(0) / width if isinstance(x, torch.Tensor) else x
def nothing(x): return None
def infinite(x): return 1 / x.abs()
def flat(x): return 0 * x
def mixed(x): return x - x.mean()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "sets.py").write_text(SETS)
    return tmp_path


def make(folder: Path, name: str, **settings: object) -> nn.Module:
    return create_model(f"nets.py:{name}", num_classes=3, in_channels=1, own_code=folder, **settings)


def opened(folder: Path, name: str, held_out: float = 0.0, **fields: object) -> Feed:
    data, cpu = DataSection(name=f"sets.py:{name}", **fields), torch.device("cpu")
    return open_feed(data, timesteps=2, seed=1, held_out=held_out, device=cpu, own_code=folder)


@pytest.mark.parametrize("name", ["nets.py:MyNet", "../a folder/nets.py:f", "/x/nets.py:_f1", "~/é.py:B"])
def test_a_python_file_with_a_name_in_it_is_own_code(name):
    assert is_own(name)


@pytest.mark.parametrize("name", ["resnet18", "nets.py", "nets.py:", ":MyNet", "nets:MyNet", "nets.py:a.b", "n.py:1a"])
def test_anything_else_is_not(name):
    assert not is_own(name)
    with pytest.raises(ValueError, match="no name of own code"):
        load_own(name, Path())


@pytest.mark.parametrize("name", ["MyNet", "built"])
def test_a_class_or_function_makes_the_network_with_the_presets_neurons_and_arguments(folder, name):
    model = make(folder, name, args={"width": 6}, decay=0.5, threshold=2.0)
    (neuron,) = (module for module in model.modules() if isinstance(module, LIF))
    assert (neuron.decay, neuron.threshold) == (0.5, 2.0)
    assert model.get_parameter("0.weight").shape == (6, 1, 3, 3)


def test_a_neuron_and_a_surrogate_of_ones_own_are_in_every_layer(folder):
    (folder / "mine.py").write_text(MINE)
    own = {"neuron_name": "mine.py:N", "neuron_args": {"beta": 0.5}, "surrogate": "mine.py:slope"}
    model = make(folder, "MyNet", **own, surrogate_args={"width": 2.0}, kernel="compiled")
    (neuron,) = (module for module in model.modules() if isinstance(module, OwnNeuron))
    assert (neuron.beta, neuron.surrogate.width) == (0.5, 2.0)
    assert slope(neuron.surrogate, torch.tensor([1.0])).item() == 0.25
    create_method("rate_m", 3).step(model, torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    for name in ("Atan", "slope"):
        model = make(folder, "MyNet", surrogate=f"mine.py:{name}")
        (lif,) = (module for module in model.modules() if isinstance(module, LIF))
        assert slope(lif.surrogate, torch.zeros(1)).item() == 1.0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"neuron_name": "mine.py:slope", "neuron_args": {"x": 1.0}}, r"mine\.py:slope gave float, not a neuron"),
        ({"surrogate": "mine.py:N"}, r"mine\.py:N: N is no surrogate: expected a function of the distance"),
        ({"surrogate": "mine.py:nothing"}, r"mine\.py:nothing: the surrogate nothing gives NoneType for distances"),
        ({"surrogate": "mine.py:infinite"}, r"mine\.py:infinite: the slope .* is not finite at the distance 0"),
        ({"surrogate": "mine.py:flat"}, r"the slope of the surrogate flat is 0 everywhere"),
        ({"surrogate": "mine.py:mixed"}, r"the slope of the surrogate mixed at one distance depends on the other"),
        ({"surrogate": "mine.py:slope", "surrogate_args": {"widht": 1.0}}, r"mine\.py:slope: .*'widht'"),
        ({"neuron_name": "lis"}, "unknown neuron 'lis': expected lif, or your own"),
    ],
)
def test_what_is_no_neuron_or_no_surrogate_is_refused(folder, settings, why):
    (folder / "mine.py").write_text(MINE)
    with pytest.raises(ValueError, match=why):
        make(folder, "MyNet", **settings)


def test_what_is_not_a_network_is_refused(folder):
    with pytest.raises(OwnCodeError, match=r"nets\.py:number gave int, not a torch\.nn\.Module"):
        make(folder, "number")
    for name in ("Absent", "three"):
        with pytest.raises(ValueError, match=rf"nets\.py has no class or function called {name}"):
            make(folder, name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        make(folder, "MyNet", args={"widht": 6})


def test_the_data_set_is_called_with_its_arguments(folder):
    feed = opened(folder, "noise", args={"classes": 5, "channels": 2}, batch_size=8)
    images, labels = next(iter(feed.train.epoch(1)))
    assert (feed.classes, feed.preprocess.channels, feed.class_names) == (5, 2, ())
    assert (images.shape, labels.shape) == ((8, 2, 8, 8), (8,))


def test_a_share_of_the_data_set_can_be_held_out_and_its_classes_can_have_names(folder):
    feed = opened(folder, "noise", held_out=0.2, args={"names": ["a", "b", "c"]})
    assert feed.class_names == ("a", "b", "c")
    sizes = [sum(len(labels) for _, labels in part) for part in (feed.train.epoch(1), feed.validation, feed.test)]
    assert (feed.validation.split, feed.test.split, sizes) == ("held-out", "test", [24, 6, 30])


@pytest.mark.parametrize(
    "changed",
    [{"crop_padding": 2}, {"flip": True}, {"flip": True, "augment_backend": "pil"}, {"cutout": 3},
     {"auto_augment": True}, {"mixup": 100.0}, {"cutmix": 100.0}],
)  # fmt: skip
def test_training_images_of_the_data_set_are_augmented_and_those_to_test_on_are_not(folder, changed):
    args = {"channels": 3}
    plain, augmented = opened(folder, "noise", args=args), opened(folder, "noise", args=args, **changed)
    for (images, labels), (found, same) in zip(plain.test, augmented.test, strict=True):
        assert torch.equal(found, images) and torch.equal(same, labels)
    [(images, _)], [(found, _)] = plain.train.epoch(1), augmented.train.epoch(1)
    assert found.shape == images.shape
    assert sorted(found.flatten(1).tolist()) != sorted(images.flatten(1).tolist())


def test_what_is_not_a_data_set_is_refused(folder):
    with pytest.raises(OwnCodeError, match=r"sets\.py:nothing gave NoneType, not rbp_engine\.data\.splits\.DataSplits"):
        opened(folder, "nothing")


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        ("labels += 1", "labels must be from 0 to 2, with at least one image; test.labels must"),
        ("labels -= 1", "labels must be from 0 to 2"),
        ("pixels = pixels / 255", "pixels must be uint8 [N, C, H, W], got torch.float32 of shape [30, 1, 8, 8]"),
        ("pixels = pixels[:, None]", "pixels must be uint8 [N, C, H, W], got torch.uint8 of shape [30, 1, 1, 8, 8]"),
    ],
)
def test_a_data_set_with_other_labels_or_pixels_is_refused_by_its_name(folder, mistake, why):
    (folder / "sets.py").write_text(SETS.replace("    images = ", f"    {mistake}\n    images = "))
    with pytest.raises(OwnCodeError, match=re.escape(f"sets.py:noise: train.{why}")):
        opened(folder, "noise")


def test_the_file_itself_is_executed_and_not_a_compiled_one_beside_it(folder):
    source = folder / "mine.py"
    source.write_text("def which(): return 'bad'\n")
    compiled = Path(py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH))
    source.write_text("def which(): return 'good'\n")
    assert call_own("mine.py:which", folder) == "good"
    compiled.unlink()
    assert call_own("mine.py:which", folder) == "good"
    assert not compiled.exists()


def test_a_file_elsewhere_or_behind_a_link_is_not_executed(folder, tmp_path):
    (tmp_path / "code").mkdir()
    for name in ("../nets.py:built", f"{folder}/nets.py:built", "~/nets.py:built"):
        with pytest.raises(OwnCodeError, match="a run executes only what is in it"):
            load_own(name, tmp_path / "code")
    (tmp_path / "code" / "nets.py").symlink_to(folder / "nets.py")
    (tmp_path / "link").symlink_to(folder)
    for place in ("code", "link"):
        with pytest.raises(OwnCodeError, match="is a link, which no run makes"):
            load_own("nets.py:built", tmp_path / place)


def test_a_file_with_a_dataclass_and_deferred_annotations_can_be_loaded(tmp_path):
    (tmp_path / "late.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass Mine:\n    n: int\n"
    )
    assert load_own("late.py:Mine", tmp_path)(n=3).n == 3


NET = "from layers import late, width\ndef net(): return width, late()\n"


def package(folder: Path, width: int) -> Path:
    """A network in several files that import each other; two of them are imported when the network is called."""
    (folder / "blocks").mkdir(parents=True)
    (folder / "nets.py").write_text(NET)
    (folder / "layers.py").write_text(
        "import nets\nfrom blocks import conv\nwidth = conv.width\n"
        "def late():\n    from . import last\n    return last.net is nets.net, last.mine, last.number\n"
    )
    (folder / "last.py").write_text("import numbers as number\nfrom nets import net\nfrom .random import mine\n")
    (folder / "random.py").write_text("mine = 'mine'\n")
    (folder / "blocks" / "__init__.py").write_text("")
    (folder / "blocks" / "conv.py").write_text(f"width = {width}\n")
    return folder


def test_files_of_a_folder_import_each_other_and_none_of_another_folder_or_instead_of_pythons(tmp_path):
    one, two = package(tmp_path / "one", 1), package(tmp_path / "two", 2)
    first, second = load_own("nets.py:net", one), load_own("nets.py:net", two)
    assert (first(), second()) == ((1, (True, "mine", numbers)), (2, (True, "mine", numbers)))
    assert not {"nets", "layers", "blocks", "last"} & sys.modules.keys()
    assert load_own("layers.py:late", one) is first.__globals__["late"]
    assert random.choice  # Python's


def test_a_package_is_loaded_by_its_init(tmp_path):
    (tmp_path / "__init__.py").write_text("size = 3\nfrom .net import net\n")
    (tmp_path / "net.py").write_text("from . import size\ndef net(): return size\n")
    assert call_own("__init__.py:net", tmp_path) == call_own("net.py:net", tmp_path) == 3


IMPORTS = """\
import importlib
def by_name(): return importlib.import_module("common")
def by_dunder(): return __import__("common")
def unseen(): import common
def with_dot(): return importlib.import_module(".common", __package__)
def cached(): from __pycache__ import common
def installed(): return importlib.import_module("yaml")
"""


def test_own_code_finds_nothing_that_is_neither_in_its_folder_nor_installed(tmp_path, monkeypatch):
    """As the originals, in a folder that the code itself has added."""
    monkeypatch.syspath_prepend(tmp_path / "original")
    code = tmp_path / "code"
    for folder in (code / "__pycache__", tmp_path / "original"):
        folder.mkdir(parents=True)
        (folder / "common.py").write_text("raise SystemExit\n")
    (code / "nets.py").write_text(IMPORTS)
    for line, name in enumerate(("by_name", "by_dunder", "unseen"), start=2):
        with pytest.raises(OwnCodeError, match=rf"nets\.py line {line} imports common \({tmp_path}/original/common"):
            call_own(f"nets.py:{name}", code)
    with pytest.raises(ModuleNotFoundError, match=r"common is not in .*: a run has copies of what import statements"):
        call_own("nets.py:with_dot", code)
    with pytest.raises(ModuleNotFoundError, match="__pycache__"):
        call_own("nets.py:cached", code)
    assert call_own("nets.py:installed", code).__name__ == "yaml"


@pytest.mark.parametrize("link", ["layers.py", "blocks", "blocks/conv.py", "__init__.py"])
def test_a_link_among_the_files_is_not_executed(tmp_path, link):
    folder = package(tmp_path / "one", 1)
    (folder / link).rename(tmp_path / "moved") if (folder / link).exists() else (tmp_path / "moved").touch()
    (folder / link).symlink_to(tmp_path / "moved")
    with pytest.raises(OwnCodeError, match="is a link, which no run makes"):
        call_own("nets.py:net", folder)


def test_where_an_error_was_raised_is_told_by_the_path_in_the_folder(tmp_path):
    folder = package(tmp_path / "one", 1)
    (folder / "blocks" / "conv.py").write_text("\nwidth = 1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        call_own("nets.py:net", folder)
    assert place_in_own_code(caught.value, folder) == "blocks/conv.py line 2"
    assert place_in_own_code(caught.value, tmp_path / "two") == ""
