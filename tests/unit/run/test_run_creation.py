import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from rbp_engine import os_process
from rbp_engine.preset import LoadedPreset, load_preset, read_resolved
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import run_json
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch, making
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import find_run, list_runs, run_directories

MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedPreset:
    path = tmp_path / "tiny.toml"
    path.write_text("[run]\nseed = 7\nname = 'mine'\ntags = ['a', 'b']\n[train]\nepochs = 3\n")
    return load_preset(str(path), ["T=2"])


def test_a_new_run_has_preset_identity_and_summary_and_can_be_found(loaded: LoadedPreset, tmp_path: Path) -> None:
    run = launch.create(loaded, tmp_path / "deep" / "runs", command=["rbp", "train", "a file.toml"])
    assert read_resolved(run.preset_toml) == loaded.preset
    identity = read_json(run.run_json)
    assert identity["host"] == socket.gethostname()
    assert identity["command"] == "rbp train 'a file.toml'"
    assert "torch" in identity["packages"] and identity["python"].startswith("3.")
    assert identity["attempts"] == []
    summary = read_summary(run)
    assert summary is not None
    assert (summary.id, summary.preset, summary.method, summary.timesteps) == (run.id, "tiny", "rate_m", 2)
    assert (summary.seed, summary.name, summary.tags, summary.epochs) == (7, "mine", ["a", "b"], 3)
    assert summary.experiment == loaded.experiment == identity["experiment"]
    assert judge(run).status == "starting"
    assert find_run(tmp_path / "deep" / "runs", "mine") == run
    assert [path.name for path in (tmp_path / "deep" / "runs").iterdir()] == [run.id]


def test_runs_created_in_the_same_second_get_different_ids(loaded: LoadedPreset, tmp_path: Path) -> None:
    runs = [launch.create(loaded, tmp_path / "runs") for _ in range(4)]
    assert len({run.id for run in runs}) == 4
    assert len(list_runs(tmp_path / "runs")) == 4
    assert all(re.fullmatch(r"\d{8}-\d{6}-tiny-rate_m-[0-9a-f]{4}", run.id) for run in runs)


@pytest.mark.parametrize("run_id", ["../escape", "a/b", "", ".hidden", "x" * 121])
def test_an_id_that_leaves_the_runs_directory_is_refused_before_anything_is_created(
    loaded: LoadedPreset, tmp_path: Path, run_id: str
) -> None:
    with pytest.raises(RunError, match="cannot be the id"):
        launch.create(loaded, tmp_path / "runs", run_id=run_id)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def test_of_many_simultaneous_creations_of_one_id_exactly_one_wins(loaded: LoadedPreset, tmp_path: Path) -> None:
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


def create_and_die(loaded: LoadedPreset, runs: Path, syncs: int) -> bool:
    """Create the run "job-1" in a process that is killed at a given sync; returns whether it got through."""
    pid = os.fork()
    if pid == 0:
        left, fsync = [None] * syncs, os.fsync

        def die_at_last(file: int) -> None:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop()
            fsync(file)

        os.fsync = die_at_last
        try:
            launch.create(loaded, runs, run_id="job-1")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_after_a_kill_at_any_point_the_run_is_complete_or_absent_and_can_be_created(
    loaded: LoadedPreset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_json, "git_state", lambda folder: None)  # it takes a while
    for syncs in itertools.count():
        runs = tmp_path / str(syncs)
        if create_and_die(loaded, runs, syncs):
            break
        assert all(
            read_summary(run) and read_resolved(run.preset_toml) == loaded.preset for run in run_directories(runs)
        )
        if not (runs / "job-1").exists():
            assert launch.create(loaded, runs, run_id="job-1").id == "job-1"
        assert [entry.run.id for entry in list_runs(runs)] == ["job-1"]
    assert syncs > 5, "nothing was killed"


def leave_half_made(path: Path, *names: str) -> None:
    """What an earlier version left when it was killed a minute ago."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("") if "." in name else (path / name).mkdir()
    for part in (path, *path.iterdir()):
        os.utime(part, (time.time() - 60, time.time() - 60))


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("control", "checkpoints", "events", "ranks"),
        ("control", "checkpoints", "events", "ranks", "ranks/0", "preset.toml", ".summary.json.4711-a1b2c3"),
        ("run.json", "preset.toml", "summary.json", "control", "checkpoints", "events", "ranks"),
    ],
    ids=["empty", "folders", "half its files", "after a power loss"],
)
def test_leftovers_of_an_earlier_version_are_replaced(
    loaded: LoadedPreset, tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = tmp_path / "runs" / "job-1"
    path.mkdir(parents=True)
    leave_half_made(path, *names)
    run = launch.create(loaded, tmp_path / "runs", run_id="job-1")
    assert read_resolved(run.preset_toml) == loaded.preset
    assert [entry.name for entry in (tmp_path / "runs").iterdir()] == ["job-1"]


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_a_folder_that_may_be_under_construction_is_left_alone(
    loaded: LoadedPreset, tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "runs" / "job-1"
    (path / "control").mkdir(parents=True)
    os.utime(path / "control", (time.time() - 60, time.time() - 60))
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    with pytest.raises(RunError, match="is being made by somebody else"):
        launch.create(loaded, tmp_path / "runs", run_id="job-1")
    assert [entry.name for entry in path.iterdir()] == ["control"]
    os.utime(path, (time.time() + 3600, time.time() + 3600))  # then the clock was set back by an hour
    assert launch.create(loaded, tmp_path / "runs", run_id="job-1").run_json.is_file()


@pytest.mark.parametrize("name", ["thesis.tex", "events/rank0.jsonl", "checkpoints/step-00000010", "control/attempt-1"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(loaded: LoadedPreset, tmp_path: Path, name: str) -> None:
    path = tmp_path / "runs" / "job-1"
    path.mkdir(parents=True)
    leave_half_made(path, "control", "checkpoints", "events", "ranks", name)
    before = sorted(path.rglob("*"))
    with pytest.raises(RunError, match="is in the way, and is no run"):
        launch.create(loaded, tmp_path / "runs", run_id="job-1")
    assert sorted(path.rglob("*")) == before


def make_hidden_and_die(runs: Path) -> Path:
    """What a process leaves that is killed while it makes a run."""
    pid = os.fork()
    if pid == 0:
        with making.hidden_folder(runs):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    (left,) = runs.glob(f"{making.PREFIX}*")
    return left


def test_what_a_kill_left_is_removed_with_the_next_run_however_new_it_is(loaded: LoadedPreset, tmp_path: Path) -> None:
    left = make_hidden_and_die(tmp_path / "runs")
    run = launch.create(loaded, tmp_path / "runs")
    assert not left.exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.id]


def test_what_another_machine_may_be_busy_with_is_not_removed_where_its_lock_cannot_be_seen(
    loaded: LoadedPreset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "major", lambda device: 0)  # as for the file system of a network
    theirs = tmp_path / "runs" / f"{making.PREFIX}00000000-0000-0000-0000-000000000000-0a1b"
    theirs.mkdir(parents=True)
    os.utime(theirs, (1.0, 1.0))
    launch.create(loaded, tmp_path / "runs")
    assert theirs.is_dir()


def test_a_folder_that_a_process_is_busy_with_is_not_removed_however_old_it_is(
    loaded: LoadedPreset, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with making.hidden_folder(runs) as hidden:
        os.utime(hidden, (time.time() - 9000, time.time() - 9000))
        run = launch.create(loaded, runs)
        assert hidden.is_dir()
    assert [path.name for path in runs.iterdir()] == [run.id]


@pytest.mark.parametrize("below", [".", "runs"])
def test_a_file_in_place_of_the_runs_directory_is_an_error_that_names_it(
    loaded: LoadedPreset, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("mine")
    runs = tmp_path / "file" / below
    with pytest.raises(RunError, match=f"cannot write to the runs directory {re.escape(str(runs))}"):
        launch.create(loaded, runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "tiny.toml"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_cannot_be_written_leaves_nothing(
    loaded: LoadedPreset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current directory, which is part of the identity, has been removed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(RunError, match="cannot write the run"):
        launch.create(loaded, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_empty_new_claim_is_respected(make_run: MakeRun) -> None:
    """Another manager has created the file but not yet written its pid into it."""
    run = make_run(attempt={}, status="starting")
    (run.control / "attempt-1").touch()
    with pytest.raises(RunError, match="is being started"):
        launch.start(run)
    assert [path.name for path in run.control.iterdir()] == ["attempt-1"]


def test_an_empty_claim_from_the_future_does_not_block(make_run: MakeRun) -> None:
    """A power loss emptied it, and since then the clock is behind."""
    run = make_run(attempt={}, status="starting")
    (run.control / "attempt-1").touch()
    os.utime(run.control / "attempt-1", (time.time() + 3600, time.time() + 3600))
    assert launch._claim_attempt(run) == 2


def test_a_live_run_is_not_started_again(make_run: MakeRun) -> None:
    run = make_run()
    (run.control / "attempt-1").write_text(json.dumps(asdict(os_process.here())))
    with pytest.raises(RunError, match="is running already"):
        launch.start(run)


def test_a_completed_run_is_not_started_again(make_run: MakeRun, ended_pid: int) -> None:
    run = make_run(status="completed", attempt={"pid": ended_pid})
    (run.control / "attempt-1").write_text(json.dumps(asdict(os_process.of(ended_pid))))
    with pytest.raises(RunError, match="complete; there is nothing to resume"):
        launch.start(run)


def test_a_failed_start_releases_its_claim(make_run: MakeRun) -> None:
    run = make_run(attempt={}, status="starting")
    run.summary_json.unlink()
    with pytest.raises(RunError, match=r"summary\.json is missing"):
        launch.start(run)
    assert list(run.control.iterdir()) == []
