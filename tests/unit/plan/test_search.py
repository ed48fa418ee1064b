"""What a search consists of, and its trials as the files of their runs tell of them."""

import contextlib
import itertools
import math
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.errors import UserError
from rbp_engine.plan import driving, trials
from rbp_engine.plan.driver import SearchDriver, main
from rbp_engine.plan.driving import SearchEnd, as_text, end_of, requested_in
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import Search, plan_search
from rbp_engine.plan.study import SearchTrial, TrialState, Value, propose, pruned_after
from rbp_engine.plan.trials import TrialReader
from rbp_engine.preset import PresetError
from rbp_engine.printable import one_line, visible
from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import RunStart, Scores, Validation
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.files.run_json import Resources, SweepRecord
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.queue.entries import entries, entry_of
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.store.run_settings import read_settings
from rbp_engine.run.store.store import list_runs
from tests.limits import survives
from tests.run_files import change_identity, change_summary, tell, write_attempt

SPACE = ("lr=0.01..0.5:log", "T=2..6", "method=bptt,rate_m")
VALUES: dict[str, Value] = {"optim.lr": 0.05, "method.timesteps": 3, "method.name": "bptt"}


def planned(
    *words: str, preset: str = "digits", seeds: tuple[int, ...] = (), retries: int | None = None, **changes: object
) -> Search:
    request = LaunchRequest(preset, words or SPACE, LaunchOptions(retries=retries), seeds)
    return plan_search(SweepRequest(request, **changes))


def created(search: Search, number: int, values: dict[str, Value]) -> RunDirectory:
    """A run of a trial that nobody has started."""
    request = search.request_of(number, values)
    return launch.create(request.load(), request.options.runs, run_id=request.run_id, sweep=request.sweep)


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3)])
def test_a_driver_that_ended_before_it_was_seen_has_been_unless_it_failed(command, code, monkeypatch):
    monkeypatch.setattr(driving, "in_background", lambda *_: subprocess.Popen(["sh", "-c", command]))
    search = planned()
    with contextlib.nullcontext() if code == 0 else pytest.raises(RunError, match="has not started"):
        assert driving.start_driver(SweepRequest(search.request), search)


def test_ranges_and_several_values_are_searched_and_single_values_are_shared():
    search = planned(*SPACE, "epochs=3")
    assert [setting.key for setting in search.space.settings] == ["method.name", "optim.lr", "method.timesteps"]
    assert (search.trials, search.seed, search.space.epochs) == (20, 1, 3)
    loaded = search.request_of(7, VALUES).load()
    assert (loaded.preset.method.timesteps, loaded.preset.method.name, loaded.preset.optim.lr) == (3, "bptt", 0.05)
    assert not search.held_out
    assert planned(*SPACE, "train.validation_split=0.1").held_out


def test_its_name_changes_with_all_that_makes_it_another_search_and_not_with_the_number_of_trials(tmp_path):
    search = planned()
    assert planned(trials=40, retries=3).name == search.name
    others = [
        planned(*SPACE, "epochs=3"),
        planned("lr=0.01..0.6:log", *SPACE[1:]),
        planned(seeds=(2,)),
        planned(pruner="median"),
    ]
    assert len({search.name, *(other.name for other in others)}) == 5
    assert planned(name="mine").name == "mine"
    ids = {search.run_of(trial).id for trial in range(1, 1001)}
    assert len(ids) == 1000 and all(run_id.endswith(f"-{short_id(run_id)}") for run_id in ids)
    path = tmp_path / "other.toml"
    path.write_text(
        'extends = "digits"\n[sweep]\nsearch = "tpe"\ntrials = 7\nseeds = [2]\n[sweep.random]\nT = [2, 3]\n'
    )
    written = planned("epochs=2", preset=str(path))
    assert (written.trials, written.seed) == (7, 2)
    assert written.name.startswith("other-tpe-")
    assert planned("epochs=2", "seed=3", preset=str(path)).seed == 3


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (("epochs=3",), {}, "there is nothing to search"),
        (("lr=0.1..0.5", "seed=3"), {"seeds": (1,)}, "both --seeds and seed="),
        (("lr=0.1..0.5",), {"seeds": (1, 2)}, "a search trains each trial once, and there are 2 seeds"),
        (("lr=0.1..0.5", "epochs=2..5"), {"pruner": "median"}, "leave epochs out"),
        (("lr=0.1..0.5",), {"trials": 1001}, "at most 1000 trials"),
        (("lr=0.1..0.5",), {"name": "../x"}, "^--name: .* '../x' cannot be the id"),
    ],
)
def test_what_contradicts_itself_is_refused(words, changes, message):
    with pytest.raises(RunError, match=message):
        planned(*words, **changes)


def test_both_ends_of_a_range_and_every_choice_are_checked_before_anything_starts():
    with pytest.raises(PresetError) as error:
        planned("lr=-1..0.5", "T=0..6", "method=bptt,rate")
    assert {problem.key for problem in error.value.problems} == {"optim.lr", "method.timesteps", "method.name"}


def test_the_settings_of_a_trial_are_read_back_from_its_run(tmp_path):
    (tmp_path / "nets.py").write_text("def A(): ...\ndef B(): ...\n")
    search = planned("lr=0.01..0.5:log", "T=2..6", "arch=nets.py:A,nets.py:B", "neuron.surrogate_args.alpha=1..8")
    values: dict[str, Value] = {
        "optim.lr": 0.01234,
        "method.timesteps": 6,
        "model.name": "nets.py:B",
        "neuron.surrogate_args.alpha": 2.5,
    }
    created(search, 1, values)
    (found,) = TrialReader(search).read()
    assert found.trial == SearchTrial(1, values, TrialState.OPEN)
    with pytest.raises(UserError, match="not in the space of this search"):
        TrialReader(planned("lr=0.1..0.5", name=search.name)).read()


def test_a_run_in_the_way_of_a_trial_is_named_and_not_taken_for_it():
    search = planned()
    request = search.request_of(1, VALUES)
    launch.create(request.load(), request.options.runs, run_id=request.run_id, sweep=SweepRecord(one_line("other"), 1))
    with pytest.raises(RunError, match="is in the way"):
        TrialReader(search).read()


def test_trials_that_are_damaged_are_named_and_the_search_goes_on_with_the_others():
    search = planned(trials=9)
    damages: dict[str, Callable[[RunDirectory], object]] = {
        "run.json is damaged": lambda run: run.run_json.write_text("{"),
        "run.json cannot be read": lambda run: run.run_json.unlink(),
        "it is not trial 3": lambda run: change_identity(run, sweep=None),
        "preset.toml: 1 problem; no such file": lambda run: run.preset_toml.unlink(),
        "not in the space of this search": lambda run: set_in_preset(run, "lr", "9.0"),
        "another experiment": lambda run: set_in_preset(run, "lr", "0.06"),
        "run.json cannot be read (No such file": lambda run: (shutil.rmtree(run.path), run.path.symlink_to("nowhere")),
    }
    for number in range(1, 9):
        run = created(search, number, VALUES)
        write_attempt(run)
        write_status(run, "completed", last=Scores(top1=0.75))
    for number, damage in enumerate(damages.values(), start=1):
        damage(search.run_of(number))
    driver = SearchDriver(search)
    assert driver.look() == ""
    (ninth, tenth) = driver.reader.read()
    assert (ninth.trial.number, tenth.trial.number) == (8, 9)
    write_status(tenth.record.run, "completed", last=Scores(top1=0.5))
    assert driver.look() == "2 of 9 trials have ended"
    problems = driver.reader.problems
    assert list(problems) == list(range(1, 8))
    for (number, problem), text in zip(problems.items(), damages, strict=True):
        assert text in problem and search.run_of(number).id in problem


def test_a_trial_that_cannot_be_resumed_is_named_and_the_search_goes_on_with_the_others():
    search = planned(trials=2)
    stopped = created(search, 1, VALUES)
    write_status(stopped, "stopped", "", Cause.REQUEST)
    stopped.attempt(1).write_text("{")
    driver = SearchDriver(search)
    assert driver.look() == ""
    write_status(search.run_of(2), "completed", last=Scores(top1=0.5))
    ended = driver.look()
    assert ended.startswith(f"1 of 2 trials have ended\nnot resumed: {stopped.attempt(1)} is damaged")


def test_a_search_waits_for_a_trial_whose_process_is_there_until_it_is_killed():
    search = planned(trials=1)
    run = created(search, 1, VALUES)
    write_attempt(run)
    write_status(run, "running", attempt=1)
    looking = SearchDriver(search)
    for slept in (0, 36_000, 0, 36_000):
        change_summary(run, updated=time.time() - slept, progressed=time.time() - slept)
        assert looking.look() == ""
    write_status(run, "killed", "", Cause.REQUEST)
    with pytest.raises(RunError, match="and the search with it"):
        looking.look()


def test_a_trial_is_resumed_by_what_the_search_is_asked_for_now():
    search = planned(trials=1)
    write_status(created(search, 1, VALUES), "stopped", "", Cause.REQUEST)
    options = replace(search.request.options, retries=3)
    assert SearchDriver(replace(search, request=replace(search.request, options=options))).look() == ""
    assert [entry.dispatch.retries for entry in entries()] == [3]


def test_a_driver_that_is_ended_while_it_reads_a_trial_ends(monkeypatch):
    asked = SweepRequest(LaunchRequest("digits", SPACE, LaunchOptions()), trials=1)
    search = plan_search(asked)
    write_status(created(search, 1, VALUES), "completed", last=Scores(top1=0.5))
    read = trials.record
    monkeypatch.setattr(trials, "record", lambda run: (signal.raise_signal(signal.SIGTERM), read(run))[1])
    before = signal.getsignal(signal.SIGTERM)
    try:
        main(as_text(asked))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end_of(search) == SearchEnd(visible("the search was stopped; the same command goes on"), failed=True)


def set_in_preset(run: RunDirectory, name: str, value: str) -> None:
    text = run.preset_toml.read_text()
    run.preset_toml.write_text(re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", text, count=1))


ENDS = {
    TrialState.COMPLETED: ("completed", Cause.UNKNOWN),
    TrialState.PRUNED: ("stopped", Cause.PRUNED),
    TrialState.DIVERGED: ("failed", Cause.NON_FINITE),
    TrialState.FAILED: ("failed", Cause.ERROR),
    TrialState.OPEN: ("stopped", Cause.REQUEST),
}


@pytest.mark.parametrize("state", ENDS)
def test_the_end_of_a_run_is_that_of_its_trial(state):
    search = planned()
    status, cause = ENDS[state]
    write_status(created(search, 1, VALUES), status, "", cause, last=Scores(top1=0.75), best=Scores(top1=0.8))
    (found,) = TrialReader(search).read()
    assert (found.trial.state, found.trial.score) == (state, 0.75 if state is TrialState.COMPLETED else None)


def test_scores_by_epoch_are_those_of_the_last_weights_on_the_data_of_every_epoch():
    search = planned(pruner="median")
    run = created(search, 1, VALUES)
    reader = TrialReader(search)
    assert reader.read()[0].trial.scores == {}
    held_out = one_line("held-out")
    tell(run, RunStart(), step=0)
    for epoch, top1 in enumerate((0.5, None, 0.7), start=1):
        tell(run, Validation(epoch, 0.1, top1, None, 10, split=held_out), step=epoch * 10)
    tell(run, Validation(3, 0.1, 0.9, None, 10, split=held_out, weights=one_line("ema")), step=30)
    assert reader.read()[0].trial.scores == {1: 0.5, 3: 0.7}
    tell(run, RunStart(epoch=1), step=10, attempt=2)
    tell(run, Validation(2, 0.1, 0.6, None, 10, split=held_out), step=20, attempt=2)
    assert reader.read()[0].trial.scores == {1: 0.5, 2: 0.6}


def test_a_run_that_has_completed_before_it_heard_that_it_is_pruned_counts_as_pruned():
    search = planned(pruner="median")
    run = created(search, 1, VALUES)
    write_status(run, "completed", last=Scores(top1=0.75))
    control.request_stop(run, Cause.PRUNED, "pruned")
    assert TrialReader(search).read()[0].trial.state is TrialState.PRUNED


CALLS = ("fsync", "mkdir", "link", "rename", "unlink")


def test_a_search_whose_driver_is_killed_at_any_call_has_the_trials_of_one_that_is_not():
    """No trial is lost, none is there twice, and each is proposed and judged as if nothing had happened."""
    Path("config").mkdir()
    Path("config/machine.toml").write_text("cpu_slots = 1\n")
    search = planned("lr=0.0001..1:log", "T=2..6", "epochs=5", pruner="median", trials=18)
    runs, kills = search.request.options.runs, 0
    for calls in itertools.chain(range(0, 75, 4), itertools.repeat(1000)):
        kills += not survives(lambda: SearchDriver(search).look(), calls, *CALLS)
        if SearchDriver(search).look():
            break
        for found in list_runs(runs):
            if found.verdict.status == "starting":  # its driver died before it was queued, and nobody has heard of it
                change_summary(found.run, updated=0.0)
            elif (entry := entry_of(found.run)) is not None:
                lr = read_settings(found.run).get("optim.lr")
                tell(found.run, RunStart(), step=0)
                for epoch in range(1, 6):
                    top1 = epoch / (epoch + 1) * (0.9 - 0.2 * abs(math.log10(lr) + 1.3))
                    tell(found.run, Validation(epoch, 0.1, top1, None, 10), step=epoch * 10)
                write_status(found.run, "completed", last=Scores(top1=top1))
                entry.path.unlink()
    trials = [one.trial for one in TrialReader(search).read()]
    assert [trial.number for trial in trials] == list(range(1, 19)) and len(list_runs(runs)) == 18
    for trial in trials:
        before = trials[: trial.number - 1]
        assert trial.values == propose(search.space, before, trial.number)
        live = SearchTrial(trial.number, trial.values, scores=trial.scores)
        pruned = pruned_after(search.space, [*before, live], trial.number) is not None
        assert trial.state is (TrialState.PRUNED if pruned else TrialState.COMPLETED), trial
    assert kills > 12 and any(trial.state is TrialState.PRUNED for trial in trials)


OPTIONS = LaunchOptions(Path("/my runs"), Resources(2), "none", 3)
AGAIN = LaunchRequest("runs/one/preset.toml", original=RunDirectory(Path("runs/one")))


@pytest.mark.parametrize(
    "asked",
    [
        SweepRequest(LaunchRequest("digits", ("lr=0.1..0.5", "run.name='ü\n'"), OPTIONS, (1, 2), typed=("rbp",))),
        SweepRequest(AGAIN, 3, "tpe", 7, "median", "mine", True),
    ],
)
def test_the_request_of_a_search_arrives_as_it_was_made(asked):
    assert requested_in(as_text(asked)) == asked
