"""What is advised after a loss that was not finite."""

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status.status import Verdict
from rbp_tui.cli.train.next_steps import USUAL_RATE, next_steps

MINE = 'extends = "digits"\n[optim]\nlr = 1e20\n'


@pytest.mark.parametrize(
    ("words", "advised"),
    [
        (("digits", "lr=1e30"), "rbp train digits lr=0.1"),  # the preset's own
        (("digits", "optim.lr=0.5", "T=2"), "rbp train digits T=2 lr=0.1"),
        (("digits",), "rbp train digits lr=0.01"),
        (("digits", "lr=0.05"), "rbp train digits lr=0.005"),
        (("moving-digits", "lr=1"), "rbp train moving-digits lr=0.003"),
        (("./mine.toml",), "rbp train ./mine.toml lr=0.1"),
        (("./mine.toml", "optim.name=adam"), "rbp train ./mine.toml optim.name=adam lr=0.001"),
    ],
)
def test_after_a_loss_that_was_not_finite_a_rate_is_advised_that_one_would_take(tmp_path, monkeypatch, words, advised):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(MINE)
    run = launch.create(load_preset(words[0], words[1:]), tmp_path / "runs")
    verdict = Verdict("failed", "the loss is not finite at step 3")
    steps = next_steps(run, read_summary(run), verdict, LaunchRequest(words[0], words[1:]))
    assert steps[-1] == f"{advised} (a resume, with the same settings, ends the same)"


def test_every_optimizer_has_a_usual_rate():
    from rbp_engine.preset import choices

    assert set(USUAL_RATE) == set(choices("optim.name"))
