import functools
import itertools
import json
import os
import re
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from rbp_engine import lease, os_process
from rbp_engine.os_process import Process
from rbp_engine.preset import load_preset, read_resolved
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import run_json
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt, newest_attempt
from rbp_engine.run.files.layout import read_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch, making
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import find_run, list_runs, run_directories
from tests.limits import survives
from tests.run_files import write_attempt


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text("[run]\nseed = 7\nname = 'mine'\ntags = ['a', 'b']\n[train]\nepochs = 3\n")
    return load_preset(str(path), ["T=2"])


def test_a_new_run_has_preset_identity_and_summary_and_can_be_found(loaded, tmp_path):
    run = launch.create(loaded, tmp_path / "deep" / "runs", command=["rbp", "train", "a file.toml"])
    assert read_resolved(run.preset_toml) == loaded.preset
    identity = read_json(run.run_json)
    assert identity["host"] == socket.gethostname()
    assert identity["command"] == "rbp train 'a file.toml'"
    assert "torch" in identity["packages"] and identity["python"].startswith("3.")
    assert newest_attempt(run) == 0
    summary = read_summary(run)
    assert (summary.id, summary.preset, summary.method, summary.timesteps) == (run.id, "tiny", "rate_m", 2)
    assert (summary.seed, summary.name, summary.tags, summary.epochs) == (7, "mine", ["a", "b"], 3)
    assert summary.experiment == loaded.experiment == identity["experiment"]
    assert judge(run).status == "starting"
    assert find_run(tmp_path / "deep" / "runs", "mine") == run
    assert [path.name for path in (tmp_path / "deep" / "runs").iterdir()] == [run.id]


def test_runs_created_in_the_same_second_get_different_ids(loaded, tmp_path):
    runs = [launch.create(loaded, tmp_path / "runs") for _ in range(4)]
    assert len({run.id for run in runs}) == 4
    assert len(list_runs(tmp_path / "runs")) == 4
    assert all(re.fullmatch(r"\d{8}-\d{6}-tiny-rate_m-[0-9a-f]{4}", run.id) for run in runs)


def test_of_many_simultaneous_creations_of_one_id_exactly_one_wins(loaded, tmp_path):
    barrier = threading.Barrier(6)

    def make(number: int) -> str:
        barrier.wait()
        try:
            return launch.create(loaded, tmp_path / "runs", run_id="job-1", command=[str(number)]).id
        except RunError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(make, range(6)))
    assert outcomes.count("job-1") == 1
    assert sum("exists already" in text and "--resume-or-start" in text for text in outcomes) == 5
    assert read_json(tmp_path / "runs" / "job-1" / "run.json")["command"] == str(outcomes.index("job-1"))


def test_after_a_kill_at_any_point_the_run_is_complete_or_absent_and_can_be_created(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(run_json, "git_state", lambda folder: (None, ""))  # it takes a while
    for syncs in itertools.count():
        runs = tmp_path / str(syncs)
        if survives(functools.partial(launch.create, loaded, runs, run_id="job-1"), syncs, "fsync"):
            break
        for run in run_directories(runs):
            assert read_summary(run) and read_resolved(run.preset_toml) == loaded.preset
        if not (runs / "job-1").exists():
            assert launch.create(loaded, runs, run_id="job-1").id == "job-1"
        assert [entry.run.id for entry in list_runs(runs)] == ["job-1"]
    assert syncs > 5, "nothing was killed"


@pytest.mark.parametrize("name", ["thesis.tex", "control", "events/rank0.jsonl", "summary.json"])
def test_a_folder_that_is_no_run_is_never_replaced(loaded, tmp_path, name):
    path = tmp_path / "runs" / "job-1"
    (path / name).parent.mkdir(parents=True)
    (path / name).touch()
    before = sorted(path.rglob("*"))
    with pytest.raises(RunError, match="is in the way, and is no run"):
        launch.create(loaded, tmp_path / "runs", run_id="job-1")
    assert sorted(path.rglob("*")) == before


def make_hidden_and_die(runs: Path) -> Path:
    """What a process leaves that is killed while it makes a run."""
    runs.mkdir()

    def make() -> None:
        with making.hidden_folder(runs):
            os.getppid()

    assert not survives(make, 0, "getppid")
    (left,) = (path for path in runs.glob(f"{making.PREFIX}*") if path.is_dir())
    return left


def test_what_a_kill_left_is_removed_with_the_next_run_however_new_it_is(loaded, tmp_path):
    left = make_hidden_and_die(tmp_path / "runs")
    run = launch.create(loaded, tmp_path / "runs")
    assert not left.exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.id]


def test_what_another_machine_may_be_busy_with_is_not_removed_without_its_lock(loaded, tmp_path, monkeypatch):
    left = make_hidden_and_die(tmp_path / "runs")
    (holder,) = (tmp_path / "runs").glob(f"{making.PREFIX}*{making.LEASE}")
    monkeypatch.setattr(lease, "_reaches_all", lambda descriptor: False)  # as on a file system with local locks
    elsewhere = Process(pid=7, started=1, boot="another", namespace="another", host="another")
    holder.with_name(f"{holder.name}.holder").write_text(json.dumps(asdict(elsewhere)))
    launch.create(loaded, tmp_path / "runs")
    assert left.is_dir()


def test_a_folder_that_a_process_is_busy_with_is_not_removed_however_old_it_is(loaded, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    with making.hidden_folder(runs) as hidden:
        os.utime(hidden, (time.time() - 9000, time.time() - 9000))
        run = launch.create(loaded, runs)
        assert hidden.is_dir()
    assert [path.name for path in runs.iterdir()] == [run.id]


@pytest.mark.parametrize("below", [".", "runs"])
def test_a_file_in_place_of_the_runs_directory_is_an_error_that_names_it(loaded, tmp_path, below):
    (tmp_path / "file").write_text("mine")
    runs = tmp_path / "file" / below
    with pytest.raises(RunError, match=f"cannot write to the runs directory {re.escape(str(runs))}"):
        launch.create(loaded, runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "tiny.toml"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_cannot_be_written_leaves_nothing(loaded, tmp_path, monkeypatch):
    """The current directory, which is part of the identity, has been removed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(RunError, match="cannot write the run"):
        launch.create(loaded, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_is_being_started_lives_or_is_complete_is_not_started(make_run, ended_pid):
    run = make_run(attempt={}, status="starting")
    claim_attempt(run, AttemptRecord(1, starter=os_process.here()))
    with pytest.raises(RunError, match="is being started"):
        launch.start(run)
    assert [path.name for path in run.attempts.iterdir()] == ["1.json"]
    with pytest.raises(RunError, match="is running already"):
        launch.start(make_run("live"))
    with pytest.raises(RunError, match="is complete: rbp resume done epochs=N trains it for longer"):
        launch.start(make_run("done", status="completed", attempt={"pid": ended_pid}))


@pytest.mark.parametrize("seconds", [3600.0, -60.0])
def test_a_claim_of_nobody_that_can_be_seen_blocks_for_half_a_minute(make_run, seconds):
    """A starter of another machine; the clock may have been set back since."""
    run = make_run(attempt={}, status="starting")
    claim_attempt(run, AttemptRecord(1, starter=Process(pid=7, host="far away"), t=time.time()))
    with pytest.raises(RunError, match="is being started by process 7 on far away"):
        launch.start(run)
    write_attempt(run, 1, process=asdict(Process()), starter=asdict(Process(pid=7)), t=time.time() + seconds)
    assert launch._free_attempt(run, None) == 2


def test_a_failed_start_releases_its_claim(make_run):
    run = make_run(attempt={}, status="starting")
    shutil.rmtree(run.stdout().parent)
    with pytest.raises(RunError, match="cannot start"):
        launch.start(run)
    assert list(run.attempts.iterdir()) == []
