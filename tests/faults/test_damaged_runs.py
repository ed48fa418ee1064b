"""Damaged files of runs, and everything that reads them."""

import shutil
from contextlib import suppress
from functools import partial

import pytest

from rbp_engine.run import control
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import AttemptRecord
from rbp_engine.run.files.event_reader import read_events, read_last_events
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.log_files import log_files, named_folders
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.launch import launch
from rbp_engine.run.queue.observe import has_failed, is_infrastructure_fault
from rbp_engine.run.status.history_reader import HistoryReader
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs
from tests.damaged_files import DAMAGES, files, write_run


def commands(name):
    """The commands that read runs."""
    return [    ("ls",), ("ls", "--json"), ("ls", "acc>0.5 age<1d host:x", "--sort", "best"), ("show", name),
    ("show", name, "--json"), ("compare", name, "two"), ("compare", name, "two", "--json"),
    ("runs", "csv", name), ("logs", name), ("logs", name, "--rank", "1"), ("report", "--include-unfinished"),
    ("report", "--json"), ("watch", name), ("watch", name, "--json"), ("runs", "tag", name), ("queue",),
    ]  # fmt: skip


def read_everything(run):
    """Read what the dashboard and the dispatcher read, without their screens and processes."""
    verdict = judge(run)
    assert verdict.status and (verdict.reason or verdict.status == "completed" or verdict.live)
    list_runs(run.path.parent)
    is_infrastructure_fault(run, verdict)
    has_failed(run, verdict)
    read_run_json(run)
    log_files(run, named_folders(run))
    for rank in run.ranks_with_events():
        read_last_events(run.events(rank))
        with suppress(RunError):  # it says what is wrong
            read_events(run.events(rank))
    reader = HistoryReader(run)
    reader.poll()
    reader.history()


def end_it(run):
    """Kill it, stop it or start it again: each works, or is refused with a message."""
    claim = partial(launch._claim_attempt, run, AttemptRecord)
    for act in (lambda: control.kill(run), lambda: control.stop(run, 0.0), claim):
        try:
            act()
        except RunError as error:
            assert str(error)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Two runs that recorded their end, and one that did not."""
    runs = tmp_path_factory.mktemp("pristine")
    for name in ("one", "two", "lost"):
        write_run(runs, name, ended=name != "lost")
    return runs


def test_of_a_damaged_run_comes_what_is_left_or_a_message(pristine, tmp_path, draw, trials, rbp):
    """Draws which commands to try, because all of them together take a second."""
    for trial in range(4 * trials):
        runs = tmp_path / str(trial)
        shutil.copytree(pristine, runs)
        run = RunDirectory(runs / draw.choice(["one", "lost"]))
        path = draw.choice(draw.choice([files(run), [run.run_json, run.summary_json, run.events(), run.events(1)]]))
        damage = DAMAGES[trial % len(DAMAGES)]
        damage(path, draw)
        case = f"trial {trial}: {damage.__name__} {path.relative_to(runs)}"
        acts = [partial(read_everything, run), partial(end_it, run)]
        acts[1:1] = [partial(rbp, runs, *words) for words in draw.sample(commands(run.id), 3)]
        for act in acts:
            try:
                act()
            except Exception as error:
                raise AssertionError(f"{case}: {error!r}") from error
    print(f"{4 * trials} damaged files of runs: each read, or refused in words")
