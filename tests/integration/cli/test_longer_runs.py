"""`rbp resume RUN epochs=N`: a completed run is trained on, and whatever lists it says so."""

import math
import shutil

import pytest

from rbp_engine.preset import read_resolved
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Metrics, RunStart, Validation, WarningRaised
from rbp_engine.run.files.layout import RunDirectory

pytestmark = pytest.mark.xdist_group("longer runs")  # they share runs
SAID = "2→4 epochs"


@pytest.fixture(scope="module")
def longer(tmp_path_factory, rbp_in, finished):
    """A folder with a run of 2 epochs, and one that goes on from it to 4, from the queue; what was printed."""
    there, _ = finished
    rbp = rbp_in(tmp_path_factory.mktemp("longer"))
    shutil.copytree(there.runs / "mine", rbp.runs / "mine")
    return rbp, rbp("resume", "mine", "train.epochs=4", "--gpus", "none")


def test_it_goes_on_where_it_was_with_the_schedule_of_the_new_length(longer):
    rbp, _ = longer
    events = [event for event in read_events(RunDirectory(rbp.runs / "mine-4").events()) if event.attempt == 2]
    (start,) = [event.body for event in events if isinstance(event.body, RunStart)]
    assert (start.resumed_from, start.epochs, start.exact) == ("step-00000012", 4, False)
    (warning,) = [event.body.message for event in events if isinstance(event.body, WarningRaised)]
    assert "trained on from epoch 2 to 4 with the learning rates of 4 epochs" in warning
    assert [event.body.epoch for event in events if isinstance(event.body, Validation)] == [3, 4]
    rates = [event.body.lr for event in events if isinstance(event.body, Metrics)]
    preset = read_resolved(rbp.runs / "mine-4" / "preset.toml")
    assert preset.train.epochs == 4
    assert rates == [pytest.approx(preset.optim.lr * (1 + math.cos(0.75 * math.pi)) / 2)]  # in the last of four epochs
    assert rbp.json("ls", "id=mine-4")[0]["status"] == "completed"


def test_every_list_says_so(longer, rbp_here):
    there, done = longer
    rbp = type(rbp_here)(there.folder)
    assert f"digits · {SAID} · rate_M" in done.stderr
    for words in (("ls",), ("show", "mine-4"), ("compare", "mine", "mine-4"), ("report", "mine-4")):
        shown = rbp(*words).stdout
        assert SAID in shown or "goes on from a run with epochs=2 to epoch 4" in shown, words
    assert f"digits · {SAID}" in rbp("watch", "mine-4").stderr
    shown = " ".join(rbp("show", "mine-4").stdout.split())
    assert "from step 12 of mine, 2 → 4 epochs: not exactly a run of 4 epochs" in shown
    alone = rbp.json("report", "mine-4")
    assert alone["rows"][0]["settings"]["origin_epochs"] == 2
    assert any("goes on from a run with epochs=2 to epoch 4" in note for note in alone["rows"][0]["notes"])
    assert rbp.json("ls", "origin_epochs>0")[0]["origin_epochs"] == 2
    compared = rbp.json("compare", "mine", "mine-4")
    assert [group["settings"]["origin_epochs"] for group in compared["groups"]] == [None, 2]
    assert any("goes on from a run with epochs=2 to epoch 4" in note for note in compared["groups"][1]["notes"])


def test_it_is_refused_where_it_makes_no_sense(longer, rbp_here):
    rbp = type(rbp_here)(longer[0].folder)
    assert "rbp train --like mine-4 lr=0.2" in rbp("resume", "mine-4", "lr=0.2", code=2).stderr
    assert "settings are words, without dashes: epochs=6" in rbp("resume", "mine-4", "--epochs", "6", code=2).stderr
    assert "without dashes: run.name=night" in rbp("train", "digits", "--name", "night", code=2).stderr
    assert "mine-4 is complete" in rbp("resume", "mine-4", code=2).stderr
    assert "at most" in rbp("resume", "mine-4", "epochs=6", "--nproc", "9999", code=2).stderr
    assert "mine-6" not in [run["id"] for run in rbp.json("ls")]
