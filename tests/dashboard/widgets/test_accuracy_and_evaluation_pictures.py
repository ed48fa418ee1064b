"""Pictures of the tabs Accuracy and Evaluation, each alone: empty, live, finished."""

import time
from dataclasses import replace

import pytest

from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import (
    ByClass,
    ClassCounts,
    Confusion,
    Evaluation,
    Mistake,
    read_evaluation,
    save_evaluation,
)
from rbp_engine.run.files.events import Event, RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.history import HistoryBuilder
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard.network.evaluation import EvaluationTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import LIGHT
from tests.damaged_files import evaluation
from tests.dashboard.screen_pictures import at
from tests.dashboard.widgets.tab_picture import Picture


def sight(run, epochs, *, status="completed", step=8, timesteps=6):
    """A run of ten steps an epoch, whose later timesteps are the more accurate ones."""
    builder = HistoryBuilder()
    builder.add([Event(0, 0.0, 1, 0, 0, RunStart(steps_per_epoch=10, epochs=40))])
    for epoch in range(1, epochs + 1):
        top1 = [(1 - 0.5**t) * (1 - 0.8 / epoch) for t in range(1, timesteps + 1)]
        body = Validation(epoch, 0.1, top1[-1], 1.0, 360, top1_by_step=top1)
        builder.add([Event(epoch, float(epoch), 1, 0, 10 * epoch, body)])
    summary = Summary("mine", "digits", "e", "rate_m", timesteps, 1, step=step)
    return Sight(run, summary, Verdict(status, ""), builder.history(), evaluation=read_evaluation(run))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    (tmp_path / "mine").mkdir()
    return RunDirectory(tmp_path / "mine")


@at("80x20")
def test_evaluation_of_a_run_of_which_nothing_is_known(same_picture, run, size):
    same_picture(Picture(EvaluationTab(), sight(run, 0)), size)


@at("160x41")
def test_evaluation_of_a_finished_run(same_picture, run, size):
    save_evaluation(run, evaluation())
    picture = Picture(EvaluationTab(), sight(run, 1), theme=LIGHT.name)
    same_picture(picture, size)


@at("80x20", "160x41")
def test_evaluation_of_a_live_run_with_a_hundred_classes(same_picture, run, size):
    found = evaluation()
    assert found.by_class is not None
    classes = tuple(ClassCounts(one_line(f"class {label}"), 100, 99 - label, 100) for label in range(100))
    confusions = tuple(Confusion(label, 99 - label, 60 - label) for label in range(50))
    worst = tuple(Mistake(37 * number, number, 99 - number, 1 - number / 50) for number in range(40))
    by_class = ByClass(replace(found.by_class.of, samples=10_000), classes, confusions, worst)
    save_evaluation(run, Evaluation(found.robustness, by_class))
    picture = Picture(EvaluationTab(), sight(run, 1, status="running", step=400))
    same_picture(picture, size)
