"""The tab Evaluation of the Network screen: in a dashboard, and pictures of it alone."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import ByClass, ClassCounts, Confusion, Evaluation, Mistake, save_evaluation
from rbp_engine.run.files.events import RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.history import History
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard.network.evaluation import EvaluationTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import DARK, LIGHT
from tests.damaged_files import evaluation
from tests.dashboard.screen_pictures import at, screen_text
from tests.dashboard.widgets.tab_picture import Picture


async def test_a_damaged_file_is_as_none_and_what_is_found_is_shown(dashboard, home, write_run, until):
    run = write_run(home / "runs", "mine", bodies=(RunStart(steps_per_epoch=1, epochs=3),))
    (run.checkpoints / "best").mkdir()
    run.evaluation_json.write_text('{"by_class": [7], "robustness": {"rows": "\x1b[2J"}}')
    dashboard.session.state.network_tab = "Evaluation"
    async with dashboard.run_test(size=(80, 24)) as pilot:

        async def wait_for(text):
            await until(pilot, lambda: text in re.sub(r"\s+", " ", screen_text(dashboard)))

        await pilot.press("6")
        await wait_for("rbp eval mine robustness classes")
        save_evaluation(run, evaluation())
        await wait_for("time shuffled before every layer")
        assert "−5.00" in screen_text(dashboard) and "rbp eval" not in screen_text(dashboard)
        await pilot.press("end")
        await wait_for("#12")
        assert re.search(r"cat\s+dog\s+90\.0\s+#3", screen_text(dashboard))


def tab(found, *, status="completed", step=8, theme=DARK):
    """The tab alone with what is known of a run."""
    summary = Summary("mine", "digits", "e", "rate_m", 6, 1, step=step)
    sight = Sight(RunDirectory(Path("mine")), summary, Verdict(status, ""), History(), evaluation=found)
    return Picture(EvaluationTab(), sight, theme=theme.name)


@pytest.fixture
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@at("80x20")
def test_a_run_of_which_nothing_is_known(same_picture, size):
    same_picture(tab(Evaluation()), size)


@at("160x41")
def test_a_finished_run(same_picture, in_utc, size):
    same_picture(tab(evaluation(), theme=LIGHT), size)


@at("80x20", "160x41")
def test_a_live_run_with_a_hundred_classes_goes_on_after_its_evaluation(same_picture, in_utc, size):
    found = evaluation()
    classes = tuple(ClassCounts(one_line(f"class {label}[b]"), 100, 99 - label, 100) for label in range(100))
    confusions = tuple(Confusion(label, 99 - label, 60 - label) for label in range(50))
    worst = tuple(Mistake(37 * number, number, 99 - number, 1 - number / 50) for number in range(40))
    by_class = ByClass(replace(found.by_class.of, samples=10_000), classes, confusions, worst)
    same_picture(tab(Evaluation(found.robustness, by_class), status="running", step=400), size)
