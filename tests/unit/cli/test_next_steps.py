"""The advice after the end of a run, by its cause."""

from pathlib import Path

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import Verdict
from rbp_tui.cli.train.next_steps import USUAL_RATE, next_steps
from rbp_tui.text.run_text import RESUME_CONDITIONS, WHY_RESUME_FAILS

MINE = 'extends = "digits"\n[optim]\nlr = 1e20\n'


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The runs directory is ./runs, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RBP_RUNS", raising=False)


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
def test_after_a_non_finite_loss_a_usual_learning_rate_is_advised(tmp_path, words, advised):
    (tmp_path / "mine.toml").write_text(MINE)
    run = launch.create(load_preset(words[0], words[1:]), tmp_path / "runs")
    verdict = Verdict("failed", "the loss is not finite at step 3", Cause.NON_FINITE)
    steps = next_steps(run, read_summary(run), verdict, LaunchRequest(words[0], words[1:]))
    assert steps[-1] == f"{advised} (a resume would fail the same way)"


def test_the_comparison_with_another_method_is_advised_only_if_its_preset_is_accepted(tmp_path):
    last = []
    for number, words in enumerate(
        [("method=bptt",), ("method=bptt", "loss.name=tet"), ("method=sltt", "loss.name=tet")]
    ):
        run = launch.create(load_preset("digits", words), tmp_path / "runs", run_id=f"run{number}")
        last.append(next_steps(run, read_summary(run), Verdict("completed", ""), LaunchRequest("digits", words))[-1])
    compared = "rbp train digits loss.name=tet method=bptt"
    assert last == ["rbp train digits method=rate_m", "rbp show run1", compared]


def test_every_optimizer_has_a_usual_rate():
    from rbp_engine.preset.fields import by_key

    assert set(USUAL_RATE) == set(by_key()["optim.name"].choices)


@pytest.fixture
def advised(tmp_path):
    """A function that returns the commands advised after `rbp train digits lr=0.2` has ended in a given way."""
    command = ["rbp", "train", "digits", "lr=0.2"]
    run = launch.create(load_preset("digits", ["lr=0.2"]), tmp_path / "runs", run_id="here", command=command)
    (run.checkpoints / "step-00000012").mkdir()

    def after(status, cause, given=LaunchRequest("digits", ("lr=0.2",))):  # noqa: B008  # frozen
        return next_steps(run, read_summary(run), Verdict(status, "so it is", cause), given)

    return after


@pytest.mark.parametrize(
    ("cause", "known", "unknown"),
    [
        (Cause.NON_FINITE, "digits", "--like here lr=0.02 ("),
        (Cause.OUT_OF_MEMORY, "digits lr=0.2 train.accumulate=2 (", "--like here train.accumulate=2 ("),
        (Cause.SETTINGS, "--like here with the settings", "--like here with the settings that the reason names ("),
        (Cause.OWN_CODE, "digits lr=0.2 (correct the file first", "digits lr=0.2 ("),
    ],
)
def test_what_starts_a_run_again_changed_is_said_whether_its_command_is_known_or_not(advised, cause, known, unknown):
    assert advised("failed", cause)[-1].startswith(f"rbp train {known}")
    assert advised("failed", cause, None)[-1].startswith(f"rbp train {unknown}")


def test_no_more_parts_are_advised_than_each_of_the_processes_has_images(tmp_path):
    words, four = ("batch=8", "train.accumulate=2"), Asked(resources=Resources(processes=4))
    run = launch.create(load_preset("digits", words), tmp_path / "runs", asked=four)
    verdict = Verdict("failed", "so it is", Cause.OUT_OF_MEMORY)
    steps = next_steps(run, read_summary(run), verdict, LaunchRequest("digits", words))
    assert "train.accumulate=4" not in steps[-1] and "the settings that the reason names" in steps[-1]


@pytest.mark.parametrize(
    ("status", "cause", "commands"),
    [
        ("stopped", Cause.REQUEST, ["rbp resume here"]),
        ("lost", Cause.LOST_PROCESS, ["rbp resume here"]),
        ("failed", Cause.UNKNOWN, ["rbp resume here"]),  # an older run
        ("lost", Cause.UNRESPONSIVE, ["rbp stop --now here", "rbp resume here (once it is killed)"]),
        ("failed", Cause.DISK, ["rbp resume here (once its disk is writable)"]),
        ("failed", Cause.DATA, ["rbp data check digits", "rbp resume here (once the data are in order)"]),
        ("stopped", Cause.PRUNED, ["rbp resume here (to train it to its end after all)"]),
    ],
)
def test_a_resume_is_advised_with_its_precondition(advised, status, cause, commands):
    assert advised(status, cause) == [*commands, "rbp logs here"]
    assert advised("running", Cause.UNKNOWN) == []


def test_a_run_without_a_checkpoint_is_said_to_start_again(tmp_path):
    run = launch.create(load_preset("digits"), tmp_path / "runs", run_id="here")
    [resume, _] = next_steps(run, read_summary(run), Verdict("killed", "", Cause.REQUEST))
    assert resume == "rbp resume here (from epoch 1: it has saved no checkpoint)"


def test_a_run_whose_budget_is_used_up_goes_on_with_twice_as_much(tmp_path):
    overrides = ["guard.max_time=1.5 h", "guard.max_steps=40"]
    run = launch.create(load_preset("digits", overrides), tmp_path / "runs", run_id="here")
    commands = next_steps(run, read_summary(run), Verdict("stopped", "used up", Cause.BUDGET))
    assert commands == ["rbp resume here guard.max_time=3h guard.max_steps=80"]


def ends():
    """Every status and cause that something is advised after."""
    yield from [("completed", Cause.UNKNOWN), ("failed", Cause.UNKNOWN), ("killed", Cause.REQUEST)]
    yield from [("failed", cause) for cause in Cause if cause not in (Cause.UNKNOWN, Cause.REQUEST)]


@pytest.mark.parametrize(("status", "cause"), list(ends()))
def test_every_command_about_a_run_elsewhere_says_where(tmp_path, status, cause):
    command = ["rbp", "train", "digits", "--runs-dir", str(tmp_path / "my runs")]
    loaded = load_preset("digits", ["guard.max_steps=40"])
    run = launch.create(loaded, tmp_path / "my runs", run_id="here", command=command)
    typed = LaunchRequest("digits", (), LaunchOptions(Path("my runs")))
    for given, place in ((typed, "--runs-dir 'my runs'"), (None, f"--runs-dir '{tmp_path}/my runs'")):
        steps = next_steps(run, read_summary(run), Verdict(status, "", cause), given)
        about_runs = [step for step in steps if not step.startswith("rbp data")]
        assert about_runs and all(place in step for step in about_runs)


def test_each_cause_has_at_most_one_kind_of_advice():
    assert set(WHY_RESUME_FAILS) == {cause for cause in Cause if cause.wants_new_run}
    assert not set(WHY_RESUME_FAILS) & set(RESUME_CONDITIONS)
    unconditional = {Cause.UNKNOWN, Cause.REQUEST, Cause.LOST_PROCESS, Cause.EARLY_STOP}
    assert set(Cause) - set(WHY_RESUME_FAILS) - set(RESUME_CONDITIONS) == unconditional
