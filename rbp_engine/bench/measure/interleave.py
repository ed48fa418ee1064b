"""Measure several ways to train, one process each, turn by turn, so that a busy machine affects all alike.

Without torch.
"""

import os
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rbp_engine.bench.measure.load import share_of_others
from rbp_engine.bench.measure.measurement import command
from rbp_engine.child import Child, ChildError, Progress, no_progress
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch.environment import worker_defaults
from rbp_engine.run.status import processes

STEP = "rbp_engine.bench.measure.step"
OURS = "ours"
# A turn takes as many steps as fit in this time, and so does its floor; on a GPU, where every turn has its own process,
# this many warm-up steps come first and do not count.
TURN_S, WARM_UP_ON_GPU = 2.0, 3
FULL_ROUNDS = 5
# Medians of rounds that are further apart, as a fraction of the median, are called unreliable.
RELIABLE = 0.15
# How long the threads of a baseline spin: as long as OpenMP has them by default, which is faster on a quiet machine.
SPINNING = {"GOMP_SPINCOUNT": "300000"}
# About how long turns take on a CPU, in the duration of a round: a new process loads torch and may compile.
STARTING, COUNTING, PEAK = 5.0, 2.0, 3.0


@dataclass(frozen=True)
class MeasuredSide:
    """`run` has the preset; `name` is "ours" for its method, or a baseline of `rbp_engine.bench.baselines`.

    `layout` is the memory format of a baseline, `title` what it is called while it is measured.
    """

    run: RunDirectory
    name: str = OURS
    title: str = OURS
    layout: str = ""


@dataclass(frozen=True)
class Turn:
    """One side in one round: mean seconds of a step, and of its convolutions and matrix products alone (`floor`).

    `busy` is the fraction of the cores that other programs used during the steps.
    """

    seconds: float
    floor: float
    busy: float


@dataclass(frozen=True)
class StepMeasurement:
    """Medians over `rounds`: seconds of a step, with those of the fastest and the slowest round, and peak memory above
    the base in bytes.

    `floor_seconds` are those of the step's convolutions and matrix products alone. `saved` are bytes kept for the
    backward pass, `units` the operations as a multiple of one forward pass of the batch at one timestep. What an
    interrupt has prevented is None. `setting` is what a baseline has chosen by itself on this machine.
    `predict_seconds`, of a prediction, is None where it was not asked for. `turns` has each round as it was measured.
    """

    device: str
    rounds: int
    seconds: float
    lowest: float
    highest: float
    floor_seconds: float
    peak: int | None
    saved: int | None
    units: float | None
    setting: str = ""
    predict_seconds: float | None = None
    turns: tuple[Turn, ...] = ()

    @property
    def spread(self) -> float:
        """How far the rounds are apart, as a fraction of the median."""
        return (self.highest - self.lowest) / self.seconds

    @property
    def reliable(self) -> bool:
        """Whether the rounds are close enough together for their median to be quoted."""
        return self.spread <= RELIABLE


class Record:
    """The measurements of a side so far, and its process if that is waiting for its next turn."""

    def __init__(self, side: MeasuredSide) -> None:
        self.side = side
        self.process: Child | None = None
        self.device = self.setting = ""
        self.steps = 1
        self.turns: list[Turn] = []
        self.turn_peaks: list[float] = []
        self.predictions: list[float] = []
        self.peaks: list[float] = []
        self.counted: dict[str, float] = {}
        self.problem: ChildError | None = None

    def begin(self, environment: Mapping[str, str]) -> None:
        """Start its process, which takes training steps on request. Raises ChildError if it cannot."""
        words = command(STEP, self.side.run, self.side.name, self.side.layout)
        self.process = Child(words, dict(environment) | processes.marker(self.side.run))
        ready = self.process.answer()
        self.device, self.setting = str(ready["device"]), str(ready["setting"])

    def ask(self, line: str) -> dict[str, Any]:
        """The answer of its process to a line, as `step.py` has them."""
        assert self.process is not None
        self.process.send(line)
        return self.process.answer()

    def attempt(self, turn: Callable[["Record"], None]) -> None:
        """Take a turn, unless this side has already failed."""
        if self.problem is None:
            try:
                turn(self)
            except ChildError as error:
                self.problem = error
                self.close()

    def result(self) -> StepMeasurement | ChildError:
        if self.problem is not None:
            return self.problem
        if not self.turns:
            return ChildError("not measured: interrupted")
        seconds = [turn.seconds for turn in self.turns]
        # On a CPU, the peak of a turn contains the holes that the worker's environment leaves.
        peaks = self.peaks or ([] if self.device == "cpu" else self.turn_peaks)
        return StepMeasurement(
            self.device,
            len(self.turns),
            statistics.median(seconds),
            min(seconds),
            max(seconds),
            statistics.median(turn.floor for turn in self.turns),
            int(statistics.median(peaks)) if peaks else None,
            int(self.counted["saved"]) if self.counted else None,
            self.counted.get("units"),
            self.setting,
            statistics.median(self.predictions) if self.predictions else None,
            tuple(self.turns),
        )

    def close(self) -> None:
        if self.process is not None:
            self.process.close()
        self.process = None


def measure(
    sides: Sequence[MeasuredSide],
    *,
    rounds: int,
    predictions: bool = False,
    busy: bool = False,
    on_progress: Progress = no_progress,
) -> tuple[list[StepMeasurement | ChildError], bool]:
    """Medians over `rounds` turns of all sides, or the error of a side that could not be measured.

    All run in the environment that the launcher gives a worker, but the threads of baselines spin while they wait, as
    OpenMP has it by default. With `busy` they sleep, as ours do, because spinning makes them many times slower if other
    programs use the machine. With `predictions` a turn also takes predictions. Every round has a random order, the same
    in each measurement.

    Ctrl-C ends it early. Returns what was measured, and whether it is all.
    """
    records = [Record(side) for side in sides]
    kinds: list[tuple[Callable[[Record], None], str, float]] = [
        (
            partial(_take_turn, last=number == rounds, predictions=predictions, busy=busy),
            f"round {number} of {rounds}",
            STARTING if number == 1 else 1.0,
        )
        for number in range(1, rounds + 1)
    ]
    kinds.append((_count, "operations and saved bytes", COUNTING))
    kinds += [(_take_peak, "peak memory", PEAK)] * memory_processes(rounds)
    length, done, whole = sum(weight for _, _, weight in kinds) * len(records), 0.0, True
    shuffled = random.Random(0)
    try:
        for turn, doing, weight in kinds:
            for number, record in enumerate(shuffled.sample(records, len(records)), 1):
                on_progress(f"{record.side.title}: {doing}, variant {number} of {len(records)}", done / length)
                record.attempt(turn)
                done += weight
    except KeyboardInterrupt:
        whole = False
    finally:
        for record in records:
            record.close()
    return [record.result() for record in records], whole


def memory_processes(rounds: int) -> int:
    """The number of processes whose median is the peak on a CPU; each takes seconds to start."""
    return 3 if rounds >= FULL_ROUNDS else 1


def _take_turn(record: Record, *, last: bool, predictions: bool, busy: bool) -> None:
    _make_ready(record, busy=busy)
    assert record.process is not None
    others = share_of_others(record.process.process.pid)
    step, share = record.ask(str(record.steps)), others()
    floor = record.ask(f"floor {record.steps}")  # before either is kept: Ctrl-C may come between the two
    record.turns.append(Turn(step["seconds"], floor["seconds"], share))
    record.turn_peaks.append(step["peak"])
    if predictions:
        record.ask("predict 1")  # the first one is slower
        times = max(1, round(TURN_S / record.ask("predict 1")["seconds"]))
        record.predictions.append(record.ask(f"predict {times}")["seconds"])
    if record.device != "cpu":
        if last:
            record.counted = record.ask("count")  # another process would take longer to start than this takes
        record.close()  # the others need the memory


def _make_ready(record: Record, *, busy: bool) -> None:
    """Let the process of a side warm up; on a CPU it is reused in every turn."""
    if record.process is None:
        spinning = SPINNING if record.side.name != OURS and not busy else {}
        record.begin(worker_defaults() | spinning | os.environ)
        record.ask("1" if record.device == "cpu" else str(WARM_UP_ON_GPU))
        record.steps = max(1, round(TURN_S / record.ask("1")["seconds"]))


def _count(record: Record) -> None:
    if not record.counted:
        _make_ready(record, busy=True)
        record.counted = record.ask("count")
    record.close()


def _take_peak(record: Record) -> None:
    """Measure the peak on a CPU, in a process whose C library returns freed memory, so that only tensors count."""
    if record.device == "cpu":
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_PRELOAD"))}
        record.begin({"OMP_WAIT_POLICY": "PASSIVE"} | plain)
        record.peaks.append(record.ask("2")["peak"])
        record.close()
