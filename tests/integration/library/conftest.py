"""Three trained runs, which the tests share."""

import shutil
from pathlib import Path

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.launch import launch
from tests.unit.conftest import one_thread  # noqa: F401

OWN = """
import torch
from torch import nn

from rbp_engine.data.splits import DataSplits, Images


def net(*, num_classes, in_channels, neuron):
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), neuron(), nn.Flatten(), nn.Linear(4 * 16, num_classes)
    )


def halves():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (90, 3, 6, 6), dtype=torch.uint8, generator=draw)
    labels = torch.arange(90) % 2
    pixels[labels == 1, 1, :3] //= 2
    train, test = Images(pixels[:60], labels[:60]), Images(pixels[60:], labels[60:])
    return DataSplits(train, test, classes=2, mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.25, 0.3))
"""
#: As docs/library.md trains them; and a network and a data set of one's own.
SETTINGS = {
    "first": ("digits", ["epochs=2", "T=2"]),
    "moving": ("moving-digits", ["epochs=1", "T=4", "batch=128"]),
    "own": ("digits", ["epochs=3", "T=2", "batch=20", "arch=own.py:net", "data=own.py:halves", "neuron.decay=0.7"]),
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The runs directory with `first`, `moving` and `own`, which tests must not change."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "own.py").write_text(OWN)
    runs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("RBP_CONFIG", str(folder / "config"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(folder)
        for name, (preset, words) in SETTINGS.items():
            runs.append(launch.create(load_preset(preset, [*words, "run.device=cpu"]), folder / "runs", run_id=name))
            launch.start(runs[-1]).wait()
    for run in runs:
        assert load_summary(run).status == "completed"
    return folder / "runs"


@pytest.fixture(autouse=True)
def at_home(trained, monkeypatch):
    """In the folder and with the settings of the user who has trained the runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(trained.parent / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(trained.parent / "config"))
    monkeypatch.delenv("RBP_RUNS", raising=False)
    monkeypatch.chdir(trained.parent)


@pytest.fixture
def stranger(trained, tmp_path, monkeypatch):
    """A copy of `own` whose code leaves a file `executed`, for a user who has launched nothing."""
    copy = RunDirectory(Path(shutil.copytree(trained / "own", tmp_path / "runs" / "own")))
    code = copy.code / "own.py"
    code.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n{code.read_text()}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield copy
