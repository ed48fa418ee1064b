"""`attempts/N.json`: claimed by its creation, whole, and replaced by those who hold the attempt."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rbp_engine import os_process
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import (
    MOST_ATTEMPTS,
    AttemptRecord,
    Ended,
    claim_attempt,
    last_attempt,
    launched,
    load_attempt,
    newest_attempt,
    newest_begun,
    read_attempts,
    record_end,
    record_process,
    withdraw_claim,
)
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch, Resources
from rbp_engine.run.files.summary import Summary
from tests.run_files import write_attempt, write_identity


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    write_identity(run, Summary("run", "digits", "e", "rate_m", 4, 1), resources={"processes": 3})
    return run


def test_attempts_are_found_by_their_names_counted_up_from_one_and_without_a_file_there_is_none(run):
    assert (newest_attempt(run), newest_begun(run), last_attempt(run), read_attempts(run)) == (0, 0, None, ())
    assert (launched(run).resources, launched(run).dispatch) == (Resources(processes=3), Dispatch())
    for number in (1, 2, 4):
        write_attempt(run, number)
    (run.attempts / "03.json").write_text("{}")
    assert newest_attempt(run) == 2 and [one.attempt for one in read_attempts(run)] == [1, 2]


def test_a_run_has_an_end_to_its_attempts_and_the_newest_is_known_without_the_others(run):
    run.attempts.mkdir()
    for number in range(1, MOST_ATTEMPTS + 10):
        (run.attempts / f"{number}.json").touch()
    write_attempt(run, MOST_ATTEMPTS, stderr_from=7)
    assert newest_attempt(run) == newest_begun(run) == MOST_ATTEMPTS
    assert last_attempt(run).stderr_from == 7
    with pytest.raises(
        RunError, match=r"run has had 2000 attempts, the most that a run can have: rbp train --like run"
    ):
        claim_attempt(run, AttemptRecord(newest_attempt(run) + 1))


def test_a_claim_is_there_whole_or_not_at_all_and_only_one_gets_it(run):
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if run.attempt(1).exists():
                seen.append(len(json.loads(run.attempt(1).read_text())["command"]))

    def claim(number: int) -> bool:
        try:
            claim_attempt(run, AttemptRecord(1, command=["word" * 50] * (1000 + number)))
        except FileExistsError:
            return False
        return True

    watcher = threading.Thread(target=look)
    watcher.start()
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(claim, range(6)))
    done.set()
    watcher.join()
    assert won.count(True) == 1 and set(seen) <= {1000 + won.index(True)}
    assert [path.name for path in run.attempts.iterdir()] == ["1.json"]


def test_where_there_are_no_hard_links_an_exclusive_file_decides(run, monkeypatch):
    def link(*args: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    claim_attempt(run, AttemptRecord(1))
    with pytest.raises(FileExistsError):
        claim_attempt(run, AttemptRecord(1))
    assert load_attempt(run, 1) == AttemptRecord(1)


def test_process_and_end_are_recorded_once(run):
    claim_attempt(run, AttemptRecord(1, starter=os_process.here(), t=5.0))
    assert (newest_attempt(run), newest_begun(run)) == (1, 0)
    claimed = run.attempt(1).stat().st_mtime
    record_process(run, 1, os.getpid())
    record = load_attempt(run, 1)
    assert (record.process, record.t, newest_begun(run)) == (os_process.here(), claimed, 1)
    record_process(run, 1, 1)
    assert load_attempt(run, 1) == record
    ended = Ended("failed", "error", "boom", 7.0)
    record_end(run, 1, ended)
    record_end(run, 1, replace(ended, status="stopped"))
    assert load_attempt(run, 1) == replace(record, ended=ended)


def test_an_attempt_whose_starter_died_has_not_begun(run):
    write_attempt(run, 1)
    claim_attempt(run, AttemptRecord(2))
    claim_attempt(run, AttemptRecord(3))
    assert (newest_attempt(run), newest_begun(run)) == (3, 1)
    withdraw_claim(run, 3)
    assert newest_attempt(run) == 2


def test_a_damaged_record_is_shown_by_its_number_and_never_replaced(run):
    write_attempt(run, 1)
    run.attempt(1).write_text('{"attempt": 1, "process": 7}')
    assert last_attempt(run) == AttemptRecord(1) and read_attempts(run) == (AttemptRecord(1),)
    for act in (
        lambda: load_attempt(run, 1),
        lambda: newest_begun(run),
        lambda: launched(run),
        lambda: record_process(run, 1, os.getpid()),
        lambda: record_end(run, 1, Ended("failed")),
    ):
        with pytest.raises(RunError, match=r"1\.json is damaged \(process: expected object, got int\)"):
            act()
    assert run.attempt(1).read_text() == '{"attempt": 1, "process": 7}'


def test_a_folder_that_the_disk_does_not_give_is_not_one_without_attempts(run, without_privileges):
    write_attempt(run, 1)
    run.attempts.chmod(0)
    try:
        with pytest.raises(RunError, match="attempts cannot be read"):
            newest_attempt(run)
        assert last_attempt(run) is None
    finally:
        run.attempts.chmod(0o755)
