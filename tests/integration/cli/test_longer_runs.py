"""`rbp resume RUN epochs=N`: a completed run is trained on, and whatever lists it says so."""

import math
import shutil

import pytest

from rbp_engine.preset import read_resolved
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Metrics, RunStart, Validation, WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from tests.run_files import change_identity

SAID = "2→4 epochs"


@pytest.fixture(scope="module")
def longer(tmp_path_factory, rbp_in, finished):
    """A folder with a run of 2 epochs, and a copy of it that was trained on to 4 from the queue; what was printed."""
    there, _ = finished
    rbp = rbp_in(tmp_path_factory.mktemp("longer"))
    shutil.copytree(there.runs / "mine", rbp.runs / "mine")
    shutil.copytree(there.runs / "mine", rbp.runs / "on")
    change_identity(RunDirectory(rbp.runs / "on"), id="on")
    return rbp, rbp("resume", "on", "train.epochs=4", "--gpus", "none")


def test_it_goes_on_where_it_was_with_the_schedule_of_the_new_length(longer):
    rbp, _ = longer
    events = [event for event in read_events(RunDirectory(rbp.runs / "on").events()) if event.attempt == 2]
    (start,) = [event.body for event in events if isinstance(event.body, RunStart)]
    assert (start.resumed_from, start.epochs, start.exact) == ("step-00000012", 4, False)
    (warning,) = [event.body.message for event in events if isinstance(event.body, WarningRaised)]
    assert "trained on from epoch 2 to 4 with the learning rates of 4 epochs" in warning
    assert [event.body.epoch for event in events if isinstance(event.body, Validation)] == [3, 4]
    rates = [event.body.lr for event in events if isinstance(event.body, Metrics)]
    preset = read_resolved(rbp.runs / "on" / "preset.toml")
    assert preset.train.epochs == 4
    assert rates == [pytest.approx(preset.optim.lr * (1 + math.cos(0.75 * math.pi)) / 2)]  # in the last of four epochs
    assert rbp.json("ls", "id=on")[0]["status"] == "completed"


def test_every_list_says_so(longer, rbp_here):
    there, done = longer
    rbp = type(rbp_here)(there.folder)
    assert f"digits · {SAID} · rate_M" in done.stderr
    for words in (("ls",), ("runs", "show", "on"), ("runs", "compare", "mine", "on"), ("report", "on")):
        shown = rbp(*words).stdout
        assert SAID in shown or "made for 2 epochs and trained on to 4" in shown, words
    assert f"digits · {SAID}" in rbp("watch", "on").stderr
    assert "2 → 4 epochs, from step 12 on: not exactly a run of 4 epochs" in " ".join(
        rbp("runs", "show", "on").stdout.split()
    )
    alone = rbp.json("report", "on")
    assert alone["rows"][0]["settings"]["extended_from"] == 2
    assert any("made for 2 epochs and trained on to 4" in note for note in alone["rows"][0]["notes"])
    assert rbp.json("ls", "extended_from>0")[0]["extended_from"] == 2
    compared = rbp.json("runs", "compare", "mine", "on")
    assert [group["settings"]["extended_from"] for group in compared["groups"]] == [None, 2]
    assert any("made for 2 epochs and trained on to 4" in note for note in compared["groups"][1]["notes"])


def test_it_is_refused_where_it_makes_no_sense(longer, rbp_here):
    rbp = type(rbp_here)(longer[0].folder)
    assert "cannot become shorter" in rbp("resume", "on", "epochs=2", code=2).stderr
    assert "rbp train --like on lr=0.2" in rbp("resume", "on", "lr=0.2", code=2).stderr
    assert "settings are words, without dashes: epochs=6" in rbp("resume", "on", "--epochs", "6", code=2).stderr
    assert "on is complete" in rbp("resume", "on", code=2).stderr
