"""What a long queue costs: files that are opened, counted; and that nothing in it is forgotten."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.queue.devices import Device
from rbp_engine.run.queue.entries import entries, entry_of, new_entry, write_entry

MakeRun = Callable[..., RunDirectory]

_opened: list[str] = []
_counting = [False]


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _counting[0]:
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[str]]:
    """The files that this process opens meanwhile."""
    _opened.clear()
    _counting[0] = True
    yield _opened
    _counting[0] = False


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text("cpu_slots = 1\n")


@pytest.fixture
def queue(make_run: MakeRun) -> Callable[[int], list[RunDirectory]]:
    """Queue this many runs, of which the first has the only device."""

    def make(count: int) -> list[RunDirectory]:
        runs = [make_run(f"job-{number:03}", status="queued") for number in range(count)]
        for number, run in enumerate(runs):
            entry = new_entry(run, Asked(dispatch=Dispatch("none")), after=1)
            write_entry(entry if number else replace(entry, claimed=(Device("cpu-0"),)))
        return runs

    return make


def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs for which a starter is started from now on; none is."""
    found: list[str] = []

    def helper(entry: Any, module: str, *words: str, held: Any = ()) -> Any:
        found.append(entry.run.id)
        raise OSError("no processes here")

    monkeypatch.setattr(dispatcher, "_helper", helper)
    return found


def test_a_pass_opens_the_files_of_few_of_the_jobs_that_wait(
    queue: Callable[[int], list[RunDirectory]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = queue(60)
    write_status(runs[0], "running")
    started(monkeypatch)
    one = dispatcher.Dispatcher()
    one.look()
    with opened() as files:
        one.look()
    waiting = {run.id for name in files for run in runs[1:] if run.id in name}
    assert len(waiting) <= dispatcher.LOOKED_AT_IN_TURN
    assert not any(name.endswith(".json") and "/queue/" in name for name in files)


def test_a_job_far_behind_that_was_withdrawn_leaves_the_queue_though_nothing_is_free(
    queue: Callable[[int], list[RunDirectory]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = queue(60)
    write_status(runs[0], "running")
    write_status(runs[55], "stopped")  # and whoever withdrew it has died before it removed the entry
    assert started(monkeypatch) == []
    one = dispatcher.Dispatcher()
    for _ in range(1 + 60 // dispatcher.LOOKED_AT_IN_TURN):
        one.look()
    assert len(entries()) == 59 and entry_of(runs[55]) is None


def test_the_entry_of_a_run_is_found_without_reading_those_of_others(
    queue: Callable[[int], list[RunDirectory]], tmp_path: Path
) -> None:
    runs = queue(30)
    link = tmp_path / "another-name"
    link.symlink_to(runs[7].path)
    with opened() as files:
        found = entry_of(RunDirectory(link))
    assert found is not None and found.run == runs[7]
    assert [Path(name).name for name in files if "/queue/" in name and name.endswith(".json")] == [found.name]
