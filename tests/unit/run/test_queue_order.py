"""The order of the queue: moves and pauses, and that nobody overtakes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.queue import arrange
from rbp_engine.run.queue.entries import entries, new_entry, write_entry
from rbp_engine.run.queue.observe import device_uses, queued_runs
from rbp_engine.run.queue.schedule import QueuedJob, World, decide

MakeRun = Callable[..., RunDirectory]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text("cpu_slots = 2\n")


@pytest.fixture
def waiting(make_run: MakeRun) -> Callable[..., list[RunDirectory]]:
    """Queue runs of these names."""

    def queue(*names: str) -> list[RunDirectory]:
        runs = [make_run(name, status="queued") for name in names]
        for run in runs:
            write_entry(new_entry(run, Asked(dispatch=Dispatch("none"))))
        return runs

    return queue


def order() -> str:
    return "".join(entry.run.id for entry in entries())


def test_runs_are_moved_to_the_front_the_end_and_by_one(waiting: Callable[..., list[RunDirectory]]) -> None:
    a, b, c, d = waiting("a", "b", "c", "d")
    arrange.move([c, d], first=True)
    assert order() == "cdab"
    arrange.move([c], first=False)
    assert order() == "dabc"
    arrange.move([d, a, b, c], first=False)
    assert order() == "dabc"
    waiting("e")
    assert order() == "dabce"
    arrange.move_by_one(b, later=True)
    assert order() == "dacbe"
    for places in ("dcabe", "cdabe", "cdabe"):
        arrange.move_by_one(c, later=False)
        assert order() == places
    arrange.move([a], first=True)
    arrange.move([b, d], first=True)
    assert order() == "bdace"


def test_a_run_that_does_not_wait_is_not_moved_and_nothing_else_is(
    waiting: Callable[..., list[RunDirectory]], make_run: MakeRun
) -> None:
    _, b = waiting("a", "b")
    ended = make_run("ended", status="completed")
    for change in (
        lambda: arrange.move([b, ended], first=True),
        lambda: arrange.move_by_one(ended, later=True),
    ):
        with pytest.raises(RunError, match="ended does not wait in the queue of this host, it is completed"):
            change()
    assert order() == "ab"


def test_a_pause_is_shown_and_ends(waiting: Callable[..., list[RunDirectory]]) -> None:
    waiting("a", "b", "c")
    assert arrange.set_paused(True) and not arrange.set_paused(True)
    assert [one.paused for one in queued_runs()] == [True] * 3
    assert arrange.set_paused(False) and not arrange.set_paused(False)
    assert [one.starts for one in queued_runs()] == [True, True, False]
    assert queued_runs()[2].held == {"cpu 0": "a", "cpu 1": "b"}
    assert {use.name for use in device_uses() if use.free} >= {"cpu 0", "cpu 1"}


JOBS = st.builds(
    QueuedJob,
    name=st.just(""),
    run=st.just(""),
    devices=st.lists(st.sampled_from("abc"), min_size=1, unique=True).map(tuple),
    takes=st.integers(1, 3),
    starter=st.booleans(),
    tried=st.sampled_from([None, 0.0, 99.0]),
)


@given(jobs=st.lists(JOBS, max_size=6), busy=st.frozensets(st.sampled_from("abc")), paused=st.booleans())
def test_no_job_gets_a_device_that_one_before_it_waits_for(
    jobs: list[QueuedJob], busy: frozenset[str], paused: bool
) -> None:
    jobs = [QueuedJob(**(vars(job) | {"name": str(number), "run": str(number)})) for number, job in enumerate(jobs)]
    actions = decide(World(1e9, 100.0, tuple(jobs), {}, dict.fromkeys(busy, "bob"), paused))
    assert [action.job for action in actions] == jobs
    given_out: list[str] = []
    waited_for: set[str] = set()
    for action in actions:
        if action.starts:
            assert len(set(action.devices)) == action.job.takes and not paused
            assert not waited_for & set(action.devices)
            given_out += action.devices
        else:
            assert not action.steps
            waited_for |= set(action.job.devices) if action.blocked else set()
    assert len(given_out) == len(set(given_out)) and not set(given_out) & busy
