"""A network of torchvision in real runs: by name, and from the weights of another run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from rbp_tui.cli import main; main()"]
PRESET = """\
[data]
name = "fake"
args = { shape = [1, 32, 32], classes = 5, train_size = 32, test_size = 16 }
batch_size = 16
[model]
name = "torchvision:squeezenet1_1"
[method]
timesteps = 2
[train]
epochs = 1
[run]
device = "cpu"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squeeze.toml").write_text(PRESET)
    return tmp_path


def rbp(folder: Path, *words: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [*COMMAND, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def log(folder: Path, name: str) -> str:
    return (folder / "runs" / name / "ranks" / "0" / "stdout.log").read_text()


def status(folder: Path, name: str) -> Any:
    return json.loads((folder / "runs" / name / "summary.json").read_text())["status"]


def test_a_network_of_torchvision_trains_and_another_run_starts_from_its_weights(folder: Path) -> None:
    rbp(folder, "train", "squeeze.toml", "--id", "first")
    assert "torchvision:squeezenet1_1: 26 neurons in the place of:\n  26 × ReLU: features.1" in log(folder, "first")
    rbp(folder, "train", "squeeze.toml", "--id", "second", "--pretrained", "first", "data.args.classes=7", "epochs=2")
    told = "50 tensors taken; of another shape and left as drawn: classifier.1.weight ([5, 512, 1, 1] there, [7,"
    assert told in log(folder, "second")
    shutil.rmtree(folder / "runs" / "first")
    # With a checkpoint of its own, the run needs the file no more.
    rbp(folder, "resume", "second", "epochs=3")
    assert status(folder, "second") == "completed"
