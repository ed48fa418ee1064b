"""summary.json is what run.json, the attempts and the events come to, whoever has written it."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.os_process import Process
from rbp_engine.printable import LONGEST_TEXT, one_line, visible
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import AttemptRecord, Ended, claim_attempt, record_end
from rbp_engine.run.files.events import (
    AlertRaised,
    Body,
    CheckpointSaved,
    ErrorRaised,
    Event,
    Heartbeat,
    Metrics,
    ReachedSoFar,
    RunEnd,
    RunStart,
    Scores,
    System,
    Top1ByWeights,
    Validation,
)
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.files.summary import (
    Summary,
    SummaryJson,
    fold,
    load_summary,
    remaining_s,
    see,
    see_end,
    write_status,
    write_summary,
)
from rbp_engine.run.writer import EventWriter
from tests.run_files import tell, write_attempt, write_identity

IDENTITY: dict[str, Any] = {
    "id": "run", "preset": "digits", "experiment": "e", "method": "rate_m", "timesteps": 4, "seed": 1,
    "epochs": 3, "created": 1.7e9, "label": "digits, 2 networks", "tags": ["a"],
}  # fmt: skip

number = st.just(0.0) | st.floats(1e-3, 1e6)
share = st.none() | st.floats(0, 1)
count = st.integers(0, 10**6)
words = st.sampled_from(["test", "held-out", "last", "best", "ema", "another"]).map(one_line)
text = st.text(st.characters(categories=["L", "N"]), max_size=5).map(visible)
scores = st.builds(Scores, share, share, st.none() | number, st.none() | count, share)
starts = st.builds(
    RunStart,
    steps_per_epoch=st.none() | count,
    epochs=st.none() | count,
    epoch=st.none() | count,
    split=words,
    reached=st.builds(ReachedSoFar, scores, scores, scores, st.none() | count, number),
)
bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(Metrics, count, st.none() | number, share, st.none(), st.none() | number, st.none() | number,
              trained_s=st.none() | number),
    st.builds(Validation, count, st.none() | number, share, share, count, words, words,
              st.none() | st.lists(share, max_size=4), share),
    st.builds(System, mem_peak=st.none() | count),
    st.builds(AlertRaised, words, st.none() | number, text),
    st.builds(CheckpointSaved, words),
    st.builds(ErrorRaised, text),
    st.just(Heartbeat()),
)  # fmt: skip
endings = st.builds(
    RunEnd, st.sampled_from(["completed", "stopped", "failed"]), text, words, trained_s=st.none() | number
)
attempts = st.lists(
    st.tuples(starts, st.lists(st.tuples(bodies, count), max_size=8), st.none() | endings, st.booleans()), max_size=4
)


@settings(max_examples=50)
@given(attempts)
def test_what_a_worker_keeps_in_step_with_its_events_is_what_the_files_come_to(history):
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "run")
        write_identity(run, Summary(**IDENTITY), host="maker")
        kept = load_summary(run)
        now = 1.7e9
        for attempt, (start, between, end, recorded) in enumerate(history, start=1):
            now += 10
            claim_attempt(run, AttemptRecord(attempt, Process(1, host=f"box{attempt}"), t=now))
            kept = dataclasses.replace(kept, attempt=attempt, host=f"box{attempt}", progressed=now, updated=now)
            kept.status, kept.reason, kept.cause, kept.alert = "starting", visible(""), "", visible("")
            writer = EventWriter(run.events(), attempt)
            for body, step in [(start, 0), *between, *([(end, 7)] if end else [])]:
                now += 1
                see(kept, writer.write(body, step, now))
            writer.close()
            if recorded:
                ended = Ended("killed", "request", visible("by hand"), now)
                record_end(run, attempt, ended)
                see_end(kept, ended)
        assert vars(fold(run)) == vars(kept)
        write_summary(run, kept)
        assert vars(load_summary(run)) == vars(kept)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    write_identity(run, Summary(**IDENTITY), host="maker")
    return run


def test_one_that_has_ended_has_the_mean_speed_of_its_steps_and_not_that_of_the_last(run: RunDirectory) -> None:
    tell(run, RunStart(steps_per_epoch=10, epochs=1), step=0)
    for step, trained_s, step_ms in ((5, 1.0, 200.0), (10, 5.0, 800.0)):
        tell(run, Metrics(1, 1.0, 0.5, 0.1, 64 / step_ms * 1000, step_ms, trained_s=trained_s), step=step)
    assert fold(run).step_ms == 800.0
    tell(run, RunEnd("completed", trained_s=5.0), step=10)
    assert (fold(run).step_ms, fold(run).samples_per_s) == (500.0, pytest.approx(128.0))


def test_it_has_all_alerts_of_an_attempt_up_to_a_length(run: RunDirectory) -> None:
    tell(run, *(AlertRaised("memory > 1 GiB", 2.0, visible(f"memory {n}")) for n in range(2)), step=0)
    assert fold(run).alert == "memory 0; memory 1"
    tell(run, *(AlertRaised("memory > 1 GiB", 2.0, visible("m" * 999)) for n in range(9)), step=0)
    assert len(fold(run).alert) == LONGEST_TEXT


def test_its_samples_per_second_count_what_the_last_batch_of_an_epoch_has(run: RunDirectory) -> None:
    tell(run, RunStart(steps_per_epoch=3, samples_per_epoch=130, samples_per_step=64, epochs=3), step=0)
    tell(run, Metrics(1, 1.0, 0.5, 0.1, 2.0, 1000.0, trained_s=5.0), step=3)
    assert fold(run).samples_per_s == 2.0
    tell(run, RunEnd("stopped", trained_s=10.0), step=7)
    assert fold(run).samples_per_s == (2 * 130 + 64) / 10.0


def trained(attempt: int, told: list[tuple[float, int]], **known: Any) -> Summary:
    """A run of 1,000 steps whose newest attempt has begun at step 10 and told of its training then and there."""
    summary = Summary(**IDENTITY, attempt=attempt, **known)
    see(summary, Event(0, 0.0, attempt, 0, 10, RunStart(steps=1000)))
    for t, step in told:
        see(summary, Event(0, t, attempt, 0, step, Metrics(1, 1.0, 0.5, 0.1, step_ms=100.0)))
    return summary


def test_the_time_left_follows_the_pace_of_the_newest_attempt_with_its_evaluations_and_after_a_burst_its_step_time():
    slow = {"paced_from": 1.0, "progressed": 2.0, "trained_s": 1030.0}  # of the attempt before
    assert remaining_s(trained(2, [(50_010.0, 110), (50_020.0, 130)], **slow)) == 870 * 0.5
    between = trained(1, [(1.0, 10), (2.0, 20)], progressed=0.0)
    assert remaining_s(between) == 980 * 0.1
    see(between, Event(0, 31.0, 1, 0, 20, Validation(1, 1.0, 0.5, None, 10)))
    assert remaining_s(between) == 980 * 30.0 / 10


def test_the_time_left_is_unknown_before_a_new_attempt_has_trained(run: RunDirectory) -> None:
    assert remaining_s(trained(2, [], paced_from=1.0, step_ms=100.0)) is None
    tell(run, RunStart(steps=1000), Metrics(1, 1.0, 0.5, 0.1, step_ms=100.0), step=20)
    assert remaining_s(fold(run)) == 98.0
    write_status(run, "starting", attempt=2)
    assert remaining_s(load_summary(run)) is None


def test_an_accuracy_and_a_loss_that_come_one_after_the_other_are_both_the_last(run: RunDirectory) -> None:
    tell(run, RunStart(), Validation(1, None, 0.9, None, 10), Validation(1, 0.3, None, None, 10), step=5)
    assert (fold(run).last.top1, fold(run).last.loss) == (0.9, 0.3)


def test_the_peak_of_memory_is_that_of_all_attempts(run: RunDirectory) -> None:
    for attempt, peak in ((1, 977), (2, 946)):
        tell(run, RunStart(), System(rss=900, mem_peak=peak), attempt=attempt)
    assert fold(run).mem_peak == 977


def test_of_a_run_that_was_never_started_it_says_so_and_what_run_json_says_is_not_in_it(run: RunDirectory) -> None:
    found = load_summary(run)
    assert (found.status, found.host, found.updated, found.attempt) == ("starting", "maker", 1.7e9, 1)
    write_summary(run, Summary(**IDENTITY, status="running", step=3, last=Scores(0.5)))
    known = read_json(run.summary_json)
    assert not known.keys() & IDENTITY.keys() and (known["step"], known["last"]) == (3, {"top1": 0.5})
    found = load_summary(run)
    assert (found.id, found.label, found.epochs, found.created) == ("run", "digits, 2 networks", 3, 1.7e9)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"step": -1}', b'{"best": {"top1": "x"}}', b"\xff"])
def test_one_that_is_missing_or_damaged_is_made_anew(run, content):
    writer = EventWriter(run.events(), 1)
    write_attempt(run, 1, t=1.7e9 + 5)
    for step, body in enumerate(
        (
            RunStart(steps_per_epoch=10, epochs=3, split=one_line("held-out")),
            Metrics(0, 1.5, 0.25, 0.1, 100.0, 5.0, trained_s=2.0),
            Validation(1, 0.5, 0.75, 0.875, 100, one_line("held-out"), top1_by_step=[0.5, 0.75]),
            Validation(2, 0.5, 0.5, 0.875, 100, one_line("held-out")),
            Validation(2, 0.5, 0.625, 0.875, 100, one_line("test"), one_line("best")),
            RunEnd("completed", trained_s=3.0),
        )
    ):
        writer.write(body, step, 1.7e9 + 10 + step)
    writer.close()
    if content is not None:
        run.summary_json.write_bytes(content)
    found = load_summary(run)
    assert (found.status, found.epoch, found.step, found.steps, found.trained_s) == ("completed", 2, 5, 30, 3.0)
    assert (found.last, found.best) == (Scores(0.5, 0.875, 0.5), Scores(0.75, epoch=1))
    assert (found.train, found.test) == (Scores(0.25, loss=1.5), Top1ByWeights(best=0.625))
    assert (found.updated, found.progressed) == (1.7e9 + 15, 1.7e9 + 14)
    write_status(run, "stopped", "by hand")
    assert json.loads(run.summary_json.read_text())["best"] == {"top1": 0.75, "epoch": 1}


def test_a_damaged_attempt_and_events_that_cannot_be_read_leave_what_the_others_say(run):
    write_attempt(run, 1)
    run.attempt(1).write_text("{")
    run.events().mkdir(parents=True)
    assert load_summary(run).status == "starting"


def test_without_run_json_there_is_none(run):
    write_summary(run, SummaryJson(status="running"))
    run.run_json.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        load_summary(run)
