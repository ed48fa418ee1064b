"""run.json is written once, with the run, and read whole or not at all."""

import json
import os
import subprocess
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
    git_state,
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


@pytest.fixture
def git(tmp_path):
    """Git in a repository with one commit, and one change since."""

    def act(*words):
        known = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath="]
        subprocess.run(["git", *known, *words], cwd=tmp_path, check=True, capture_output=True)

    act("init", "--initial-branch", "main")
    (tmp_path / "file").write_text("1\n")
    act("add", "file")
    act("commit", "-m", "first")
    (tmp_path / "file").write_text("2\n")
    return act


def test_git_executes_nothing_that_a_repository_names(git, tmp_path):
    """Of an archive that holds a .git, with everything in it that a diff may start."""
    ran = tmp_path / "ran"
    command = f"touch {ran}; cat"
    for name in ("core.fsmonitor", "diff.external", "diff.bad.textconv", "diff.bad.command", "core.sshCommand"):
        git("config", name, command)
    (tmp_path / ".gitattributes").write_text("file diff=bad\n")
    hook = tmp_path / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\n{command}\n")
    hook.chmod(0o755)
    os.utime(tmp_path / "file")
    state, diff = git_state(tmp_path)
    assert state is not None and state.changed and "+2" in diff
    assert not ran.exists()


def test_the_filters_of_a_repository_are_not_executed_either_and_its_changes_are_not_known(git, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / ".git" / "info" / "attributes").write_text("file filter=bad\n")
    (tmp_path / ".git" / "more").write_text(f'[filter "bad"]\n clean = "touch {ran}; cat"\n')
    git("config", "include.path", "more")
    state, diff = git_state(tmp_path)
    assert state is not None and state.changed and "not known" in diff and not ran.exists()
    git("config", "--unset", "include.path")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".git" / "more"))  # the user's own is theirs
    assert "+2" in git_state.__wrapped__(tmp_path)[1]


def test_what_git_shows_a_user_is_not_what_is_kept(git, tmp_path):
    git("checkout", "-b", "a\u2028b")
    for name, value in (("color.ui", "always"), ("diff.external", "true")):
        git("config", name, value)
    state, diff = git_state(tmp_path)
    assert state is not None and state.changed and state.branch.startswith("a") and state.branch.endswith("b")
    assert "\n+2\n" in diff and "\x1b" not in diff


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
