"""The runs that the Compare screen shows."""

from pathlib import Path

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord, list_runs, unreadable
from rbp_tui.dashboard.compare.selection import NEWEST_EXPERIMENTS, RUNS_AT_MOST, compared_runs


def run(name, experiment):
    summary = Summary(name, "digits", experiment, "rate_m", 4, 1)
    return RunRecord(RunDirectory(Path("runs", name)), summary, Verdict("completed", ""))


RECORDS = [run("a1", "a"), run("a2", "a"), run("b1", "b"), run("c1", "c")]


def ids(compared):
    return [record.run.id for record in compared.records]


def test_without_a_choice_the_newest_experiments_are_shown_with_a_hint():
    records = [run(f"{letter}{seed}", letter) for letter in "abcdefg" for seed in (1, 2)]
    found = compared_runs(records, [], "")
    assert ids(found) == [record.run.id for record in records[-2 * NEWEST_EXPERIMENTS :]]
    assert "Space marks" in found.notes[0]
    assert ids(compared_runs(records, ["gone"], "")) == ids(found)
    records[0].summary.step = 5
    assert ids(compared_runs(records, [], "")) == ["a1", "a2"]  # the others wait in the queue


def test_without_a_choice_experiments_on_other_data_than_the_newest_are_left_out(tmp_path):
    for number, preset in enumerate(("digits", "mnist5k", "digits")):
        launch.create(load_preset(preset, [f"seed={number}"]), tmp_path, run_id=f"{number}-{preset}")
    assert ids(compared_runs(list_runs(tmp_path), [], "")) == ["0-digits", "2-digits"]


@pytest.mark.parametrize(
    ("chosen", "baseline", "shown", "notes"),
    [
        ("c1 a1", "", "a1 c1", ()),  # oldest first
        ("a1 x y", "", "a1", ("2 of the chosen runs are not there any more",)),
        ("b1 c1", "a1", "a1 a2 b1 c1", ()),  # a pinned baseline comes first, with its experiment if that is not chosen
        ("a1 b1 c1", "c1", "c1 a1 b1", ()),
        ("b1", "x1", "b1", ("the pinned baseline x1 is not there",)),
    ],
)
def test_the_chosen_runs_are_shown_behind_the_baseline_and_what_is_gone_is_said(chosen, baseline, shown, notes):
    found = compared_runs(RECORDS, chosen.split(), baseline)
    assert ids(found) == shown.split() and found.notes == notes
    assert found.baseline == next((record for record in RECORDS if record.run.id == baseline), None)
    assert compared_runs([], chosen.split(), baseline).records == ()


def test_unreadable_runs_are_left_out_and_too_many_runs_are_cut():
    broken = unreadable(RunDirectory(Path("runs", "broken")), "damaged")
    assert ids(compared_runs([*RECORDS, broken], ["broken", "a1"], "")) == ["a1"]
    many = [run(f"r{number:03}", "e") for number in range(RUNS_AT_MOST + 5)]
    found = compared_runs(many, [record.run.id for record in many], "")
    assert len(found.records) == RUNS_AT_MOST and found.notes == (f"{RUNS_AT_MOST} of {len(many)} runs",)
