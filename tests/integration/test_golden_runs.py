"""Runs of every released version can be read, reported and resumed; tests/golden contains them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rbp_engine.run.files.events import from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.status.status import judge
from rbp_engine.train.checkpoints.checkpoint import verify

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the runs of a version."""
    return Path(shutil.copytree(GOLDEN / request.param, tmp_path / "runs"))


def rbp(runs: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from rbp_tui.cli import main; main()", *words, "--runs-dir", str(runs)],
        env=os.environ | {"HOME": str(runs.parent), "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        cwd=runs.parent, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("runs", VERSIONS, indirect=True)
def test_all_events_and_checkpoints_of_older_runs_can_be_read(runs: Path) -> None:
    for name in ("completed", "stopped"):
        run = RunDirectory(runs / name)
        assert judge(run, load_summary(run)).status == name
        lines = run.events().read_bytes().splitlines()
        assert len(lines) > 10 and all(from_json(line) for line in lines)
        assert {verify(path).progress.step for path in run.checkpoints.iterdir()}


@pytest.mark.parametrize("runs", VERSIONS, indirect=True)
def test_older_runs_can_be_reported_and_resumed(runs: Path) -> None:
    rbp(runs, "resume", "stopped", "--trust")  # it has code, and no user of this version has launched it
    resumed = load_summary(RunDirectory(runs / "stopped"))
    assert (resumed.status, resumed.epoch, resumed.attempt) == ("completed", 4, 2)
    rows = json.loads(rbp(runs, "report", "--json"))["rows"]
    assert [(row["network"], row["timesteps"]) for row in rows] == [("nets.py:net", 2), ("nets.py:net", 8)]
