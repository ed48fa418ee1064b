"""run.json is written once, with the run, and read whole or not at all."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.files.run_json import (
    NOTHING_KNOWN,
    Dispatch,
    GitState,
    Resources,
    SweepRecord,
    create_run_json,
    load_run_json,
    read_run_json,
)
from rbp_engine.run.store.run_settings import read_settings

IDENTITY = {"id": "r", "experiment": "e", "created": 5.0}


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


def test_what_is_written_is_read(run):
    fields = IDENTITY | {"seed": 3, "tags": ["a"], "sweep": {"name": "night", "trial": 2}}
    fields |= {"resources": {"processes": 2, "devices": [1, "MIG-a"]}, "dispatch": {"gpus": "0,1", "retries": 3}}
    create_run_json(run, ["rbp", "train", "a file"], {"optim": {"lr": 0.1}, "title": "t"}, **fields)
    found = load_run_json(run)
    assert (found.id, found.experiment, found.created, found.seed, found.tags) == ("r", "e", 5.0, 3, ["a"])
    assert (found.command, found.sweep) == ("rbp train 'a file'", SweepRecord("night", 2))
    assert found.resources == Resources(processes=2, devices=(1, "MIG-a"))
    assert found.dispatch == Dispatch(gpus="0,1", retries=3)
    assert "torch" in found.packages and "pytest" in read_json(run.run_json)["other_packages"]
    assert read_settings(run).sections == ({"optim.lr": 0.1}, {"title": "t"})


def test_uncommitted_changes_stand_beside_it(run, monkeypatch):
    state = GitState("0a1b", "main", changed=True)
    monkeypatch.setattr("rbp_engine.run.files.run_json.git_state", lambda folder: (state, "+ a line\n"))
    create_run_json(run, [], {}, **IDENTITY)
    assert load_run_json(run).git == state and run.uncommitted_diff.read_text() == "+ a line\n"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "it is of format 2, and this rbp reads 1"),
        ({"id": 5}, "id: expected str, got int"),
        ({"created": 1e300}, "created: expected float"),
        ({"dispatch": {"retries": "lots"}}, "dispatch.retries: expected int, got str"),
        ({"resources": {"processes": 0}}, "resources.processes: expected int >= 1"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(run, change, why):
    run.run_json.write_text(json.dumps({"format": 1, "settings": {}} | IDENTITY | change))
    with pytest.raises(RunError, match=rf"{run.run_json} is damaged \({why}.*correct it, or move it away"):
        load_run_json(run)
    assert read_run_json(run) == NOTHING_KNOWN


def test_a_file_that_is_missing_or_that_the_disk_does_not_give_is_no_empty_one(run):
    with pytest.raises(RunError, match=r"cannot be read \(No such file"):
        load_run_json(run)
    run.run_json.symlink_to("/proc/self/mem")  # a file of which a read gives EIO
    with pytest.raises(RunError, match=r"cannot be read \(Input/output error\)"):
        load_run_json(run)
    assert read_run_json(run) == NOTHING_KNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "pid", "commit"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "git", "packages", "resources", "dispatch", "settings", "tags"]), JSON))
def test_any_object_is_read_or_refused(described):
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.run_json.write_text(json.dumps({"format": 1, "settings": {}} | IDENTITY | described))
        found = read_run_json(run)
        assert isinstance(found.id, str) and found.resources.world_size >= 1
        assert isinstance(read_settings(run).sections, tuple)
