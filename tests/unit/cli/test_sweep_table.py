"""What `rbp sweep` prints under its table."""

from dataclasses import replace

import pytest

from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.states import states_of
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import Scores
from rbp_engine.run.files.run_json import SweepRecord
from rbp_engine.run.files.summary import load_summary, write_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_tui.cli.sweep.text import print_table


def planned(folder, *words, seeds=()):
    return plan_sweep(SweepRequest(LaunchRequest("digits", words, LaunchOptions(folder / "runs"), seeds)))


def completed(plan, point, top1, sweep=None):
    """The run of a point of the plan, with this accuracy."""
    run, scores = launch.create(point.loaded, plan.request.options.runs, sweep=sweep), Scores(loss=0.1, top1=top1)
    write_summary(run, replace(load_summary(run), status="completed", last=scores, best=scores))


@pytest.mark.parametrize(
    ("sweeps", "said", "lists"),
    [
        (("digits-T", "digits-T"), "", True),
        (("digits-T", ""), "not under sweep=digits-T: 1 run that something else has created", False),
        (("another", ""), "not under sweep=digits-T: 2 runs that something else has created", False),
    ],
)
def test_a_query_by_the_sweep_is_advised_only_if_it_finds_all_the_runs(sweeps, said, lists, tmp_path, capsys):
    plan = planned(tmp_path, "T=2,4")
    for point, name in zip(plan.points, sweeps, strict=True):
        completed(plan, point, 0.9, SweepRecord(name, point.trial) if name else None)
    print_table(plan, states_of(plan))
    told = " ".join(capsys.readouterr().err.split())
    assert said in told and ("not under" in told) == bool(said)
    assert ("rbp report sweep=digits-T" in told) == ("rbp ls sweep=digits-T" in told) == lists


@pytest.mark.parametrize(("words", "compares"), [(["T=2,4"], True), (["T=2,4", "lr=0.1,0.2"], False)])
def test_where_one_setting_varies_its_values_are_compared_by_seed(words, compares, tmp_path, capsys):
    plan = planned(tmp_path, *words, seeds=(1, 2))
    for number, point in enumerate(plan.points):
        completed(plan, point, 0.5 + number**2 / 100)
    print_table(plan, states_of(plan))
    told = " ".join(capsys.readouterr().err.split())
    # Of seed 1 the points have 50 and 51 %, of seed 2 54 and 59 %: 1 and 5 points, 3 on average.
    assert ("4 − 2: last +3.00 ± 25.41, best +3.00 ± 25.41 points of top-1" in told) == compares
    assert ("of two seeds it is wide" in told) == compares
    assert ("rbp compare" in told) == compares


def test_the_log_of_a_failed_run_is_looked_for_where_the_run_is(tmp_path, capsys):
    plan = planned(tmp_path, "T=2,4")
    run = launch.create(plan.points[0].loaded, plan.request.options.runs)
    write_summary(run, replace(load_summary(run), status="failed", cause=Cause.ERROR, reason="broken"))
    print_table(plan, states_of(plan))
    assert f"rbp logs {run.id[-4:]} --runs-dir {tmp_path / 'runs'}" in "".join(capsys.readouterr().err.split("\n"))
