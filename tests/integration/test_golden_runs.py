"""Runs of every released layout can be read, reported and resumed; tests/golden contains them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.events import from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import fold, load_summary
from rbp_engine.run.history.history_reader import read_findings, read_judged
from rbp_engine.run.history.rules.alarm_rules import findings
from rbp_engine.run.longer import go_on
from rbp_engine.run.pack.packing import pack, unpack
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.store import list_runs
from rbp_engine.train.checkpoints.checkpoint import verify

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())


@pytest.fixture
def runs(request, tmp_path):
    """A copy of the runs of a version."""
    return Path(shutil.copytree(GOLDEN / request.param, tmp_path / "runs"))


@pytest.mark.parametrize("runs", VERSIONS, indirect=True)
@pytest.mark.parametrize("name", ["completed", "stopped"])
def test_all_of_one_can_be_read_and_it_is_what_its_preset_makes_and_its_other_files_come_to(runs, name):
    run = RunDirectory(runs / name)
    written, folded = load_summary(run), fold(run)
    assert judge(run, written).status == name
    lines = run.events().read_bytes().splitlines()
    assert len(lines) > 10 and all(from_json(line) for line in lines)
    assert {verify(path).progress.step for path in run.checkpoints.iterdir()}
    loaded = load_preset(str(run.preset_toml), code=run.code)
    assert (written.experiment, written.seed) == (loaded.experiment, loaded.preset.run.seed)
    assert abs(written.updated - folded.updated) < 1.0 and abs(written.progressed - folded.progressed) < 1.0
    assert replace(folded, updated=written.updated, progressed=written.progressed) == written


@pytest.mark.parametrize("runs", VERSIONS, indirect=True)
def test_they_can_be_reported_and_resumed(runs, rbp):
    rbp("resume", "stopped", "--trust")  # it has code, and no user of this version has launched it
    resumed = load_summary(RunDirectory(runs / "stopped"))
    assert (resumed.status, resumed.epoch, resumed.attempt) == ("completed", 4, 2)
    rows = rbp.json("report")["rows"]
    assert [(row["network"], row["timesteps"]) for row in rows] == [("nets.py:net", 2), ("nets.py:net", 8)]


@pytest.mark.parametrize("runs", VERSIONS, indirect=True)
def test_they_are_found_judged_packed_and_trained_longer(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = {record.run.id: record for record in list_runs(runs)}
    host = read_run_json(found["completed"].run).host
    query = parse_query(f"host={host} origin_epochs=0 not:archived not:sweep:anything not:program:anything alert=''")
    assert host and found.keys() == {"completed", "stopped"} and all(map(query.lists, found.values()))
    for name, record in found.items():
        assert findings(read_judged(record.run)) == read_findings(record.run)
        file = tmp_path / f"{name}.zip"
        pack(record.run, file)
        unpacked, _ = unpack(file, tmp_path / "elsewhere")
        assert load_summary(unpacked) == load_summary(record.run)
    fork, _ = go_on(found["completed"].run, ["epochs=8"])
    assert judge(fork).resumable and load_summary(fork).called.endswith("3→8 epochs")
