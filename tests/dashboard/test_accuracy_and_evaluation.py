"""The tabs Accuracy and Evaluation of the Network screen."""

import re

import pytest

from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import (
    ByClass,
    ClassCounts,
    Confusion,
    EvaluatedWeights,
    Evaluation,
    Mistake,
    save_evaluation,
)
from rbp_engine.run.files.events import RunStart, Validation
from rbp_tui.dashboard.app import Dashboard
from tests.damaged_files import evaluation
from tests.dashboard.screen_pictures import at, screen_text

pytestmark = pytest.mark.asyncio


@pytest.fixture
def shown(home, until):
    """Open the dashboard on a tab, and wait until the screen has a text."""

    class Shown:
        def __init__(self, tab, size=(80, 24)):
            self.app = Dashboard(home / "runs")
            self.app.session.state.network_tab = tab
            self.running = self.app.run_test(size=size)

        async def __aenter__(self):
            self.pilot = await self.running.__aenter__()
            await self.pilot.press("6")
            return self

        async def __aexit__(self, *error):
            await self.running.__aexit__(*error)

        @property
        def text(self):
            return screen_text(self.app)

        async def wait_for(self, text):
            await until(self.pilot, lambda: text in re.sub(r"\s+", " ", self.text))

    return Shown


@pytest.fixture
def trained(home, write_run):
    """A run whose first two timesteps were not enough at first, and the second is at the end."""
    events = [RunStart(steps_per_epoch=1, epochs=3)]
    for epoch, top1 in enumerate(([0.2, 0.5, 0.6], [0.4, 0.7, 0.8], [0.5, 0.899, 0.9]), start=1):
        events.append(Validation(epoch, 0.1, top1[-1], 1.0, 360, top1_by_step=top1))
    run = write_run(home / "runs", "mine", timesteps=3, bodies=events)
    (run.checkpoints / "best").mkdir(parents=True)
    return run


@at("80x24", "160x45")
async def test_what_was_found_is_shown_with_whole_matrix_and_worst_mistakes(trained, shown, size):
    async with shown("Evaluation", size) as screen:
        await screen.wait_for("rbp eval mine robustness classes")
        save_evaluation(trained, evaluation())
        await screen.wait_for("time shuffled before every layer")
        assert "−5.00" in screen.text and "rbp eval" not in screen.text
        if size[0] > 80:
            # Beside them.
            assert "confusion matrix" in screen.text and "worst mistakes" in screen.text
        else:
            await screen.pilot.press("end")
            await screen.wait_for("#12")
        assert re.search(r"cat\s+dog\s+90\.0\s+#3", screen.text)


async def test_of_a_hundred_classes_the_worst_and_the_most_frequent_confusions_are_shown(trained, shown):
    of = EvaluatedWeights(one_line("last"), one_line("step-00000400"), one_line("test"), 10_000, 4, 0.5, 1.7e9)
    classes = tuple(ClassCounts(one_line(f"class{number:02}[b]"), 100, number, 100) for number in range(100))
    confusions = tuple(Confusion(number, 99 - number, 90 - number) for number in range(50))
    save_evaluation(trained, Evaluation(by_class=ByClass(of, classes, confusions, (Mistake(9, 1, 2, 0.9),))))
    async with shown("Evaluation", (160, 45)) as screen:
        await screen.wait_for("most frequent confusions")
        assert "class00[b]" in screen.text and "and 80 more" in screen.text
        assert re.search(r"class00\[b\]\s+class99\[b\]\s+90", screen.text)


async def test_a_damaged_file_is_as_none(trained, shown):
    trained.evaluation_json.write_text('{"by_class": [7], "robustness": {"rows": "\x1b[2J"}}')
    async with shown("Evaluation") as screen:
        await screen.wait_for("rbp eval mine robustness classes")


async def test_an_old_evaluation_says_that_training_has_gone_on(trained, shown):
    save_evaluation(trained, evaluation())  # of step 8
    async with shown("Evaluation") as screen:
        await screen.wait_for("training has gone on since")
