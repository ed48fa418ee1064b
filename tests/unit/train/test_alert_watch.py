"""Alerts of a run: told of once, with the number that raised them, and sent by the hook."""

import time
from dataclasses import replace

import pytest

from rbp_engine.guard.alert_rule import parse_alert
from rbp_engine.printable import one_line
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import AlertRaised, Metrics, System, Validation
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.queue.hooks import alert_log, run_hooks
from rbp_engine.run.status.status import Verdict
from rbp_engine.train.record.alert_watch import AlertWatch
from rbp_engine.train.record.journal import Journal


def watch(*rules: str, capacity: int = 1000, split: str = "test") -> AlertWatch:
    return AlertWatch([parse_alert(rule) for rule in rules], capacity, split)


def validation(top1: float | None, epoch: int, weights: str = "last") -> Validation:
    return Validation(epoch, 1.0, top1, 0.9, 100, weights=one_line(weights))


def test_an_alert_is_raised_once_by_the_first_number_that_meets_it():
    watching = watch("val.top1 < 20 % after epoch 2")
    seen = [
        list(watching.see(validation(top1, epoch), 0, 10 * epoch)) for top1, epoch in [(0.1, 1), (0.1, 2), (0.1, 3)]
    ]
    assert [len(alerts) for alerts in seen] == [0, 1, 0]
    assert seen[1][0].message == "val.top1 < 20 % after epoch 2: it is 10 % after epoch 2, step 20"
    assert seen[1][0].value == 0.1


def test_memory_is_a_share_of_what_there_is_or_bytes():
    assert not list(watch("memory > 90 %").see(System(mem_peak=900), 0, 1))
    [alert] = watch("memory > 90 %").see(System(mem_peak=901), 0, 1)
    assert "it is 90.1 %" in alert.message
    assert list(watch("memory > 1 MiB").see(System(rss=2**20 + 1), 0, 1))


@pytest.mark.parametrize(
    "body",
    [validation(None, 3), validation(0.1, 3, "best"), Metrics(3, None, 0.1, 0.1), System(), System(gpu_util=None)],
)
def test_a_number_that_is_not_known_or_of_something_else_raises_nothing(body):
    assert not list(watch("val.top1 < 1", "train.loss > 0", "memory > 0 %", "gpu_util < 1").see(body, 3, 30))


def test_of_a_run_with_held_out_data_the_test_at_its_end_raises_nothing():
    watching = watch("val.top1 < 1", split="held-out")
    assert not list(watching.see(validation(0.1, 3), 3, 30))
    assert list(watching.see(replace(validation(0.1, 3), split=one_line("held-out")), 3, 30))


def summary() -> Summary:
    return Summary("job", "p", "e", "rate_m", 2, 1)


def test_an_alert_is_an_event_behind_its_number_and_in_the_summary_of_its_attempt(run):
    for attempt in (1, 2):
        journal = Journal(run, summary(), attempt)
        journal.alerts = watch("train.loss > 3")
        journal.write(Metrics(0, 4.0, 0.1, 0.1), 5)
        journal.write(Metrics(0, 5.0, 0.1, 0.1), 10)
        journal.end("stopped", "")
        written = read_summary(run)
        assert written.alert == "train.loss > 3: it is 4 after epoch 0, step 5"
    kinds = [(event.attempt, event.step, type(event.body)) for event in read_events(run.events()) if event.step]
    assert [kind for kind in kinds if kind[2] in (Metrics, AlertRaised)] == [
        (attempt, step, kind) for attempt in (1, 2) for step, kind in [(5, Metrics), (5, AlertRaised), (10, Metrics)]
    ]


def test_the_hook_gets_each_alert_once_in_an_attempt(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text("[hooks]\non_alert = 'echo \"$RBP_HOOK $RBP_STATUS $RBP_ALERT\"'\n")
    journal = Journal(run, summary(), 1)
    journal.alerts = watch("train.loss > 3", "train.top1 < 0.2")
    journal.write(Metrics(0, 4.0, 0.1, 0.1), 5)
    journal.end("stopped", "")

    def logs() -> list[str]:
        return sorted(path.read_text().partition("\n")[2] for path in run.control.glob("hook-1-alert-*"))

    said = [
        f"on_alert running {rule}: it is {value} after epoch 0, step 5\n"
        for rule, value in [("train.loss > 3", 4), ("train.top1 < 0.2", 0.1)]
    ]
    deadline = time.monotonic() + 60.0
    while logs() != said:
        assert time.monotonic() < deadline, logs()
        time.sleep(0.05)
    running, hook = Verdict("running", ""), ["on_alert"]
    run_hooks(run, alert_log(1, "train.loss > 3"), running, hook, "again")
    assert logs() == said
    run_hooks(run, alert_log(2, "train.loss > 3"), running, hook, "in the next attempt")
    assert len(list(run.control.glob("hook-2-alert-*"))) == 1
