"""What rules say of real runs, at each sample as it came and at the end. `record.py` trained and recorded them."""

import gzip
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import pytest

from rbp_engine.run.files.events import from_json
from rbp_engine.run.history.history import HistoryBuilder
from rbp_engine.run.history.rules.alarm_rules import RULES, alarms, findings, unchecked
from rbp_engine.run.history.rules.rule import Alarm

RECORDINGS = Path(__file__).parent / "recordings"
PRESETS = ("digits", "mnist5k", "moving-digits", "sequential-digits")
SEEDS = (1, 2, 3)
FAULT_STEP, STEPS_PER_EPOCH = 47, 23  # the first step of epoch 3

#: Rule and layer of the one alarm of each run with a fault.
FAULTS = {
    "silenced": ("silent", "neuron3"),
    "silenced-residual": ("silent", "blocks.2.neuron"),
    "threshold-too-high": ("silent", "neuron1"),
    "no-batch-norm": ("fading", "neuron3"),
    "saturated": ("saturated", "neuron3"),
    "slow-membranes": ("uneven", "neuron2"),
    "lr-too-high": ("loss", ""),
    "lr-too-low": ("chance", ""),
    "far-from-bptt": ("fidelity", ""),
    "steps-too-large": ("large_steps", ""),
    "steps-too-small": ("small_steps", ""),
    "surrogate-too-flat": ("gradient", "conv1"),
    "surrogate-too-steep": ("gradient", "conv1"),
}
#: The rules about the end that speak of a run; of the others with evaluations none does.
ENDS = {
    "lr-high-at-the-end": {"decline"},
    "wrong-labels": {"overfit"},
    "stopped-early": {"unfinished"},
    "too-many-epochs": {"no_progress"},
    "input-bound": {"improving", "input"},
    "memory-nearly-full": {"memory", "timesteps"},
    "ranks": {"improving", "input"},
    "ranks-one-paused": {"ranks"},
    # The digits are learnt in four epochs, and need no more than one or two timesteps.
    "digits-1": {"timesteps"},
    "digits-2": {"no_progress", "timesteps"},
    "digits-3": {"no_progress", "timesteps"},
    "mnist5k-1": {"timesteps"},
    "mnist5k-2": {"timesteps"},
    "mnist5k-3": {"timesteps"},
}
NAMES = sorted(path.name.removesuffix(".jsonl.gz") for path in RECORDINGS.iterdir())
#: The others have none.
WELL = [name for name in NAMES if name not in FAULTS]


@dataclass(frozen=True)
class Moment:
    """The alarms when the events of a step had come."""

    step: int
    alarms: tuple[Alarm, ...]


def events_of(recording):
    with gzip.open(recording) as lines:
        return [event for line in lines if (event := from_json(line)) is not None]


@cache
def moments(name):
    """What was to be seen of a run after each sampled step."""
    builder, found = HistoryBuilder(), []
    for step, events in groupby(events_of(RECORDINGS / f"{name}.jsonl.gz"), key=attrgetter("step")):
        builder.add(events)
        found.append(Moment(step, alarms(builder.history())))
    assert len(found) > 5
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_nothing_else_is(name):
    seen = {(alarm.rule, alarm.layer) for moment in moments(name) for alarm in moment.alarms}
    assert seen == {FAULTS[name]}


@pytest.mark.parametrize("name", FAULTS)
def test_an_alarm_stands_until_the_end_and_since_the_step_that_it_named_at_first(name):
    first, *later = [moment.alarms for moment in moments(name) if moment.alarms]
    assert [[alarm.step for alarm in found] for found in later] == [[alarm.step for alarm in first]] * len(later)
    assert moments(name)[-1].alarms


@pytest.mark.parametrize("name", ["silenced", "silenced-residual", "saturated"])
def test_a_layer_that_breaks_in_epoch_3_is_named_within_two_epochs(name):
    found = next(moment for moment in moments(name) if moment.alarms)
    assert FAULT_STEP < found.step <= FAULT_STEP + 2 * STEPS_PER_EPOCH
    assert FAULT_STEP <= found.alarms[0].step < FAULT_STEP + STEPS_PER_EPOCH


@pytest.mark.parametrize("name", WELL)
def test_there_is_no_alarm_in_a_run_that_is_well(name):
    assert [moment for moment in moments(name) if moment.alarms] == []


@cache
def whole(name):
    builder = HistoryBuilder()
    builder.add(events_of(RECORDINGS / f"{name}.jsonl.gz"))
    return builder.history()


@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_a_run_has_its_alarms_and_what_the_rules_about_the_end_say(name):
    alarming = {FAULTS[name][0]} if name in FAULTS else set()
    assert {found.rule for found in findings(whole(name))} == ENDS.get(name, set()) | alarming


def test_what_is_said_of_an_end_names_the_epoch_and_the_numbers():
    said = {name: next(found for found in findings(whole(name)) if found.rule in ENDS[name]) for name in ENDS}
    assert said["lr-high-at-the-end"].what.startswith(
        "best at epoch 6 with 94 %, the last 3 at least 12.2 points lower"
    )
    assert "after 4 of 20 epochs, and at step 90 its learning rate was 95 % of" in said["stopped-early"].what
    assert said["too-many-epochs"].what == "no more progress since epoch 12 of 60"
    assert "training accuracy is 100 %" in said["wrong-labels"].what
    assert "at epoch 10 to 1.47" in said["wrong-labels"].what
    assert said["ranks-one-paused"].what.startswith("process 1 waits ")


def test_each_rule_has_a_recorded_run_in_which_it_speaks_and_one_in_which_it_is_quiet():
    assert {rule.name for rule in RULES if not rule.at_end} == {rule for rule, _ in FAULTS.values()}
    for rule in (rule for rule in RULES if rule.at_end):
        spoken = {name for name, rules in ENDS.items() if rule.name in rules}
        could = {name for name in NAMES if rule not in unchecked(whole(name))}
        assert spoken and could - spoken, rule.name
    assert {f"{preset}-{seed}" for preset in PRESETS for seed in SEEDS} <= set(WELL)
    builder = HistoryBuilder()
    for name in ("digits-1", "moving-digits-beside-bptt"):
        builder.add(events_of(RECORDINGS / f"{name}.jsonl.gz"))
        left_out = {rule.reads for rule in unchecked(builder.history()) if not rule.at_end}
        assert left_out <= {"health", "fidelity"}


def test_recordings_are_small():
    assert max(path.stat().st_size for path in RECORDINGS.iterdir()) < 50_000
