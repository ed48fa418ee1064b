"""What the head of the Monitor says of a run: the advice after its end, and how long it has worked."""

import pytest

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import CheckpointSaved, Event, Heartbeat, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.history import History, HistoryBuilder
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard.opened.state_text import run_state
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text.live_text import progress_text

KEYS = {"monitor.traceback": "T", "resume": "r", "again": "C", "kill": "k"}


def advice(tmp_path, status, cause):
    saved = Event(3, 1.7e9, 1, 0, 40, CheckpointSaved("step-00000040"))
    summary = Summary("a-run", "digits", "e", "rate_m", 4, 1)
    sight = Sight(RunDirectory(tmp_path), summary, Verdict(status, "why", cause), History(checkpoints=(saved,)))
    return run_state(sight, there=True, silence=0.0, key_of=lambda name: KEYS.get(name, "")).advice


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause.wants_new_run])
def test_if_a_resume_would_end_the_same_way_another_run_is_offered_with_the_reason(tmp_path, cause):
    text = advice(tmp_path, "failed", cause)
    again = "" if cause is Cause.OWN_CODE else "C runs it again, changed · "  # with the code that has the fault
    assert text.startswith(f"T shows the traceback · {again}")
    assert "r resumes" not in text and "a resume" in text


@pytest.mark.parametrize(
    ("status", "cause", "text"),
    [
        ("stopped", Cause.REQUEST, "r resumes from step-00000040"),
        ("failed", Cause.DISK, "r resumes from step-00000040 once its disk is writable"),
        ("lost", Cause.UNRESPONSIVE, "k kills it · r resumes from step-00000040 once it is killed"),
    ],
)
def test_a_resume_is_offered_with_its_precondition(tmp_path, status, cause, text):
    assert advice(tmp_path, status, cause) == f"T shows the traceback · {text}"


@pytest.mark.parametrize(("status", "elapsed"), [("queued", "1m00"), ("starting", "1m00"), ("running", "1m30")])
def test_a_run_that_waits_to_go_on_has_worked_as_long_as_when_it_stopped(status, elapsed):
    builder = HistoryBuilder()
    builder.add([Event(0, 0.0, 1, 0, 0, RunStart(epochs=10)), Event(1, 60.0, 1, 0, 40, Heartbeat())])
    summary = Summary("a-run", "digits", "e", "rate_m", 4, 1)
    text = progress_text(summary, Verdict(status, ""), builder.history(), status, 90.0, 80)
    assert f"elapsed {elapsed} " in text.plain


def test_a_log_that_was_written_at_once_does_not_say_how_long_its_training_took():
    builder = HistoryBuilder()
    builder.add([Event(0, 5.0, 1, 0, 0, RunStart()), Event(1, 5.2, 1, 0, 40, Heartbeat())])
    summary, verdict = Summary("a-run", "", "e", "", 0, 1), Verdict("completed", "")
    text = progress_text(summary, verdict, builder.history(), "completed", 90.0, 80)
    assert "elapsed – " in f"{text.plain} "
