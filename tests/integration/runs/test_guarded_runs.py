"""A run with a guard, as workers train it: its budget ends it, then a kill, and then its early stop."""

from idle import IDLE

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.events import AlertRaised, CheckpointSaved, RunEnd, Validation
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.longer import go_on
from rbp_engine.run.status.history_reader import read_findings


def test_a_run_ends_by_its_budget_goes_on_with_a_larger_one_and_ends_early_though_it_was_killed(new_run, look):
    run = new_run(
        *IDLE, "epochs=60", "guard.max_steps=6", "guard.early_stop=2", "guard.early_stop_delta=0.9",
        'guard.alerts=["val.top1 > 0 after epoch 2", "memory > 1 MiB"]',
    )  # fmt: skip
    launch.start(run)
    ended = look.end(run)
    assert (ended.status, ended.cause) == ("stopped", Cause.BUDGET)
    assert ended.reason == "its budget is used up, guard.max_steps = 6, saved at step 6"
    assert look.newest(run).progress.step == 6

    _, changed = go_on(run, ["guard.max_steps=600"])
    worker = launch.start(run, Asked(changed=changed))
    look.first(run, CheckpointSaved, attempt=2)
    worker.kill()
    worker.wait()

    launch.start(run)
    ended = look.end(run)
    assert (ended.status, ended.cause) == ("completed", Cause.EARLY_STOP)
    assert ended.reason.startswith("early stop after epoch 3 of 60: top-1 has not improved by 90 points since epoch 1")
    assert sorted({body.epoch for body in look.bodies(run, Validation)}) == [1, 2, 3]
    assert look.bodies(run, RunEnd)[-1].cause == "early_stop"
    summary = read_summary(run)
    assert summary is not None and (summary.epoch, summary.step) == (3, 36)
    assert summary.alert.startswith("val.top1 > 0 after epoch 2: it is ")
    assert {"val.top1 > 0 after epoch 2", "memory > 1 MiB"} == {body.rule for body in look.bodies(run, AlertRaised)}
    assert "unfinished" in {found.rule for found in read_findings(run)}
