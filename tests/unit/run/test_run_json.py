"""run.json is read as typed records, whatever stands in the file."""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine import os_process
from rbp_engine.os_process import Process
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.resources import Dispatch, Resources
from rbp_engine.run.files.run_json import (
    AttemptRecord,
    FaultRecord,
    GitState,
    RunJson,
    add_fault,
    last_attempt,
    leave_to_worker,
    load_run_json,
    read_dispatch,
    read_run_json,
    record_attempt,
    record_unless_started,
    update_run_json,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def test_what_fits_is_read_and_what_does_not_is_left_out(run: RunDirectory) -> None:
    known = {"pid": 8, "boot": "b"}
    attempts = [{"attempt": 1, "process": {"pid": "7", "host": "lab"}, "t": 1e300}, {"process": known}, 7]
    attempts += [{"attempt": 2, "process": known}, {"attempt": 3, "process": [known]}]
    git = {"commit": "0a1b", "branch": "main", "diff": "+ a line"}
    write_json(run.run_json, {"id": 5, "host": "lab", "attempts": attempts, "faults": 7, "git": git, "packages": []})
    found = read_run_json(run)
    assert (found.id, found.host, found.git, found.packages) == ("", "lab", GitState("0a1b", "main", changed=True), {})
    assert found.attempts == (
        AttemptRecord(1, Process(host="lab")),
        AttemptRecord(2, Process(8, boot="b")),
        AttemptRecord(3),
    )
    assert found.faults == ()
    assert (found.attempt, last_attempt(run)) == (3, AttemptRecord(3))


def test_without_a_file_nothing_is_known(run: RunDirectory) -> None:
    assert read_run_json(run) == RunJson() and last_attempt(run) is None and read_run_json(run).attempt == 0


def test_what_was_not_understood_stays_in_the_file(run: RunDirectory) -> None:
    write_json(run.run_json, {"later": {"version": 2}, "attempts": [{"attempt": 1, "later": True}]})
    record_attempt(run, AttemptRecord(2, t=5.0), Resources(processes=2), pid=1)
    add_fault(run, FaultRecord(2, "lost", "lost_process", "gone", 6.0))
    update_run_json(run, dispatch=Dispatch(retries=3).as_json())
    kept = read_json(run.run_json)
    assert kept["later"] == {"version": 2} and kept["attempts"][0] == {"attempt": 1, "later": True}
    found = read_run_json(run)
    assert [attempt.attempt for attempt in found.attempts] == [1, 2] and found.attempts[1].process.pid == 1
    assert found.resources == Resources(processes=2) and found.dispatch == Dispatch(retries=3)
    assert found.faults == (FaultRecord(2, "lost", "lost_process", "gone", 6.0),)


def test_a_damaged_dispatch_is_refused_with_the_way_out(run: RunDirectory) -> None:
    write_json(run.run_json, {"dispatch": {"retries": "lots"}})
    with pytest.raises(RunError, match=r"retries is 'lots'.*remove it, and the run starts at once"):
        read_dispatch(run)


def test_of_several_that_change_the_file_at_once_none_undoes_what_another_has_written(run: RunDirectory) -> None:
    run.control.mkdir(exist_ok=True)
    write_json(run.run_json, {"id": run.id})

    def add(first: int) -> None:
        for attempt in range(first, first + 10):
            add_fault(run, FaultRecord(attempt))
            update_run_json(run, **{f"field-{attempt}": True})

    with ThreadPoolExecutor() as threads:
        list(threads.map(add, (0, 10, 20)))
    assert sorted(fault.attempt for fault in read_run_json(run).faults) == list(range(30))
    assert sum(name.startswith("field-") for name in read_json(run.run_json)) == 30


def test_a_lock_that_somebody_keeps_does_not_keep_the_file_from_being_changed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbp_engine.run.files.run_json.LOCK_PATIENCE_S", 0.05)
    run.control.mkdir(exist_ok=True)
    kept = os.open(run.control, os.O_RDONLY)
    try:
        fcntl.flock(kept, fcntl.LOCK_EX)
        add_fault(run, FaultRecord(1))
    finally:
        os.close(kept)
    assert [fault.attempt for fault in read_run_json(run).faults] == [1]


DAMAGED = '{"id": "r", "attempts": [{"attempt": 1, "pid": 7},]}'


def test_a_damaged_file_is_never_written_over(run: RunDirectory) -> None:
    run.run_json.write_text(DAMAGED)
    refused = rf"{run.run_json} is damaged \(.*\), and nothing is changed: correct it"
    acts: list[Callable[[], object]] = [
        lambda: update_run_json(run, dispatch={}),
        lambda: add_fault(run, FaultRecord(1)),
        lambda: record_attempt(run, AttemptRecord(2), Resources(), pid=os.getpid()),
        lambda: load_run_json(run),
        lambda: read_dispatch(run),
    ]
    for act in acts:
        with pytest.raises(RunError, match=refused):
            act()
    assert run.run_json.read_text() == DAMAGED and read_run_json(run) == RunJson()


def test_a_file_that_the_disk_does_not_give_is_never_written_over(run: RunDirectory) -> None:
    run.run_json.symlink_to("/proc/self/mem")  # a file of which a read gives EIO
    with pytest.raises(RunError, match=r"cannot be read \(Input/output error\), and nothing is changed"):
        add_fault(run, FaultRecord(1))
    assert run.run_json.is_symlink() and read_run_json(run) == RunJson()


def test_a_worker_leaves_its_record_until_the_file_is_whole_again(run: RunDirectory) -> None:
    run.control.mkdir()
    write_json(run.claim(1), asdict(os_process.of(2**30)))
    leave_to_worker(run, AttemptRecord(1), Resources())
    run.run_json.write_text(DAMAGED)
    assert not record_unless_started(run, 1, os.getpid())
    write_json(run.run_json, {"attempts": []})
    assert record_unless_started(run, 1, os.getpid()) and read_run_json(run).attempt == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["attempt", "pid", "t", "commit"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "git", "packages", "resources", "dispatch", "attempts", "faults"]), JSON))
def test_any_object_is_read(described: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.run_json.write_text(json.dumps(described))
        found = read_run_json(run)
    assert all(type(attempt.attempt) is int for attempt in found.attempts)
    assert isinstance(found.id, str) and found.resources.world_size >= 1
