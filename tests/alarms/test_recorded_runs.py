"""The alarms of real runs, judged at each sample as it came. `record.py` trained and recorded them."""

import gzip
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import pytest

from rbp_engine.run.files.events import Event, from_json
from rbp_engine.run.status.history import HistoryBuilder
from rbp_engine.run.status.rules.rule import Alarm
from rbp_engine.run.status.rules.table import RULES, alarms, unchecked

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
NAMES = sorted(path.name.removesuffix(".jsonl.gz") for path in RECORDINGS.iterdir())
#: The others have none.
WELL = [name for name in NAMES if name not in FAULTS]


@dataclass(frozen=True)
class Moment:
    """The alarms when the events of a step had come."""

    step: int
    alarms: tuple[Alarm, ...]


def events_of(recording: Path) -> list[Event]:
    with gzip.open(recording) as lines:
        return [event for line in lines if (event := from_json(line)) is not None]


@cache
def moments(name: str) -> list[Moment]:
    """What was to be seen of a run after each sampled step."""
    builder, found = HistoryBuilder(), []
    for step, events in groupby(events_of(RECORDINGS / f"{name}.jsonl.gz"), key=attrgetter("step")):
        builder.add(events)
        found.append(Moment(step, alarms(builder.history())))
    assert len(found) > 5
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_nothing_else_is(name: str) -> None:
    seen = {(alarm.rule, alarm.layer) for moment in moments(name) for alarm in moment.alarms}
    assert seen == {FAULTS[name]}


@pytest.mark.parametrize("name", FAULTS)
def test_an_alarm_stands_until_the_end_and_since_the_step_that_it_named_at_first(name: str) -> None:
    first, *later = [moment.alarms for moment in moments(name) if moment.alarms]
    assert [[alarm.step for alarm in found] for found in later] == [[alarm.step for alarm in first]] * len(later)
    assert moments(name)[-1].alarms


@pytest.mark.parametrize("name", ["silenced", "silenced-residual", "saturated"])
def test_a_layer_that_breaks_in_epoch_3_is_named_within_two_epochs(name: str) -> None:
    found = next(moment for moment in moments(name) if moment.alarms)
    assert FAULT_STEP < found.step <= FAULT_STEP + 2 * STEPS_PER_EPOCH
    assert FAULT_STEP <= found.alarms[0].step < FAULT_STEP + STEPS_PER_EPOCH


@pytest.mark.parametrize("name", WELL)
def test_there_is_no_alarm_in_a_run_that_is_well(name: str) -> None:
    assert [moment for moment in moments(name) if moment.alarms] == []


def test_each_rule_has_a_recorded_run_in_which_it_speaks_and_one_in_which_it_is_quiet() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _ in FAULTS.values()}
    assert {f"{preset}-{seed}" for preset in PRESETS for seed in SEEDS} <= set(WELL)
    builder = HistoryBuilder()
    for name in ("digits-1", "moving-digits-beside-bptt"):
        builder.add(events_of(RECORDINGS / f"{name}.jsonl.gz"))
        assert {rule.reads for rule in unchecked(builder.history())} <= {"health", "fidelity"}


def test_recordings_are_small() -> None:
    assert max(path.stat().st_size for path in RECORDINGS.iterdir()) < 50_000
