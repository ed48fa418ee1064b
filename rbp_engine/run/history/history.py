"""What has happened in a run so far: curves, attempts, checkpoints, failure, probes, processes. Folded from its events.

Everything that looks at the past of a run uses this: `rbp watch`, the dashboard, reports and figures. The files are
read by `history_reader.py`.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from rbp_engine.run.files.events import (
    LAST,
    AlertRaised,
    Body,
    CheckpointSaved,
    ErrorRaised,
    Event,
    FiringRates,
    GradientFidelity,
    Health,
    Metrics,
    Probe,
    RunStart,
    System,
    Validation,
    WarningRaised,
    done_again,
)
from rbp_engine.run.history.curves import Curve, CurveBuilder
from rbp_engine.run.history.samples import (
    AccuracyHistory,
    FidelityHistory,
    FiringHistory,
    HealthHistory,
    OwnBuilder,
    OwnHistory,
    SampleBuilder,
)


@dataclass(frozen=True)
class Mark:
    """Where training stood, and when (seconds since the epoch)."""

    t: float
    step: int


@dataclass
class Attempt:
    """One attempt, from its events: `start` is when training could begin, `last_seen` the newest sign of life.

    `begun` is what it said at its beginning.
    """

    number: int
    start: Mark
    last_seen: float
    begun: RunStart

    def add(self, event: Event) -> None:
        """Update from an event of this attempt."""
        self.last_seen = max(self.last_seen, event.t)


def elapsed_s(attempts: Sequence[Attempt], now: float | None = None) -> float:
    """Seconds that the attempts have worked, without the time between them; the last one until `now` if given."""
    total = sum(max(0.0, attempt.last_seen - attempt.start.t) for attempt in attempts)
    if attempts and now is not None:
        total += max(0.0, now - max(attempts[-1].last_seen, attempts[-1].start.t))
    return total


ALERTS_KEPT = 200
CHECKPOINTS_KEPT = 100


@dataclass
class RankProgress:
    """The newest data of one rank of the newest attempt: step, time of its last event (seconds since the epoch), memory
    and speed.

    `logs` is the folder of its stdout and stderr, relative to the run's, if it reported one.
    """

    rank: int
    step: int = 0
    seen: float = 0.0
    system: System | None = None
    metrics: Metrics | None = None
    logs: str | None = None

    @property
    def step_ms(self) -> float | None:
        """Milliseconds per step."""
        return next((one.step_ms for one in (self.system, self.metrics) if one and one.step_ms is not None), None)

    @property
    def data_ms(self) -> float | None:
        """Milliseconds per step spent waiting for data."""
        return next((one.data_ms for one in (self.system, self.metrics) if one and one.data_ms is not None), None)

    def add(self, event: Event) -> None:
        """Update from an event of this rank."""
        self.step = event.step
        self.seen = max(self.seen, event.t)
        if isinstance(event.body, Metrics):
            self.metrics = event.body
        elif isinstance(event.body, System):
            self.system = event.body
        elif isinstance(event.body, RunStart):
            self.logs, self.system, self.metrics = event.body.logs, None, None  # those of another process


@dataclass(frozen=True)
class History:
    """A snapshot of a run's past; what a later attempt has repeated is not in it, except alerts.

    `curves` are those of `CurveBuilder`, by name. `failure` is the earliest error of the newest attempt over all
    ranks; an error about other ranks only counts if those have reported none. `split` is the data on which its epochs
    were evaluated, "test" or "held-out"; empty before the first evaluation. `method` and `classes` are those of the
    newest attempt, empty and 0 if it has not said them. `foreign`: another program trains the run.
    """

    curves: dict[str, Curve] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    alerts: tuple[Event, ...] = ()
    checkpoints: tuple[Event, ...] = ()
    failure: Event | None = None
    accuracy: AccuracyHistory | None = None
    firing: FiringHistory | None = None
    fidelity: FidelityHistory | None = None
    health: HealthHistory | None = None
    own: OwnHistory | None = None
    processes: tuple[RankProgress, ...] = ()
    split: str = ""
    method: str = ""
    classes: int = 0
    foreign: bool = False

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt; None before the first has begun."""
        return self.attempts[-1] if self.attempts else None

    @property
    def metrics(self) -> Metrics | None:
        """The newest training metrics of the newest attempt; None before there are any."""
        return next((process.metrics for process in self.processes if process.rank == 0), None)

    @property
    def newest_alert(self) -> Event | None:
        """The newest warning, alert or error of the newest attempt; None if there is none."""
        newest = self.alerts[-1] if self.alerts else None
        return newest if newest and (self.attempt is None or newest.attempt >= self.attempt.number) else None


class HistoryBuilder:
    """Folds the events of all ranks of one run, attempt by attempt; `history()` is a snapshot."""

    def __init__(self) -> None:
        self._curves = CurveBuilder()
        # Each takes its own kind and the starts of attempts; most events of a run are of none.
        self._by_kind: dict[type[Body], SampleBuilder[Any]] = {
            Validation: SampleBuilder(AccuracyHistory, whole=("top1_by_step",), lists=("top1_by_step",)),
            FiringRates: SampleBuilder(
                FiringHistory, by_neuron_layer=("rates", "silent", "saturated"), lists=("rates",)
            ),
            GradientFidelity: SampleBuilder(
                FidelityHistory,
                whole=("samples", "cosine", "norm_ratio"),
                by_neuron_layer=("neuron_error",),
                by_weight_layer=("cosine_by_weight", "norm_ratio_by_weight", "weight_error"),
            ),
            Health: SampleBuilder(
                HealthHistory,
                by_neuron_layer=("in_window", "eligibility", "decay", "threshold"),
                by_weight_layer=("gradient_norm", "update_ratio"),
                lists=("eligibility",),
                optional=("decay", "threshold"),
            ),
            Probe: OwnBuilder(),
        }
        self._attempts: dict[int, Attempt] = {}
        self._alerts: deque[Event] = deque(maxlen=ALERTS_KEPT)
        self._checkpoints: deque[Event] = deque(maxlen=CHECKPOINTS_KEPT)
        self._failure: Event | None = None
        self._processes: dict[int, RankProgress] = {}
        self._method, self._classes = "", 0

    def add(self, events: Iterable[Event]) -> None:
        """Add the next events."""
        for event in events:
            body = event.body
            self._curves.add(event)
            if isinstance(body, RunStart):
                for each in self._by_kind.values():
                    each.add(event)
                if event.rank == 0:
                    self._begin(event, body)
            elif (part := self._by_kind.get(type(body))) and self._counts(body):
                part.add(event)
            elif isinstance(body, CheckpointSaved):
                self._checkpoints.append(event)
            elif isinstance(body, (WarningRaised, AlertRaised, ErrorRaised)):
                self._alerts.append(event)
                self._fail(event)
            self._processes.setdefault(event.rank, RankProgress(event.rank)).add(event)
            if attempt := self._attempts.get(event.attempt):
                attempt.add(event)

    def history(self) -> History:
        """Everything so far."""
        return History(
            curves=self._curves.curves(),
            attempts=tuple(copy(self._attempts[number]) for number in sorted(self._attempts)),
            alerts=tuple(self._alerts),
            checkpoints=tuple(self._checkpoints),
            failure=self._failure,
            accuracy=self._by_kind[Validation].history(),
            firing=self._by_kind[FiringRates].history(),
            fidelity=self._by_kind[GradientFidelity].history(),
            health=self._by_kind[Health].history(),
            own=self._by_kind[Probe].history(),
            processes=tuple(copy(self._processes[rank]) for rank in sorted(self._processes)),
            split=self._curves.split,
            method=self._method,
            classes=self._classes,
        )

    def _counts(self, body: Body) -> bool:
        """Whether a validation, if it is one, is that after an epoch: of the last weights, not the final test."""
        return not isinstance(body, Validation) or (body.weights, body.split) == (LAST, self._curves.split)

    def _begin(self, event: Event, start: RunStart) -> None:
        counting = [old for old in self._checkpoints if not done_again(old.attempt, old.step, None, event, start)]
        self._checkpoints = deque(counting, CHECKPOINTS_KEPT)
        self._attempts[event.attempt] = Attempt(event.attempt, Mark(event.t, event.step), event.t, start)
        self._method, self._classes = start.method, start.classes or 0
        # An attempt with fewer processes than the one before does not show the rest.
        self._processes = {rank: one for rank, one in self._processes.items() if rank < start.world_size}
        if self._failure is not None and self._failure.attempt < event.attempt:
            self._failure = None

    def _fail(self, event: Event) -> None:
        if isinstance(event.body, ErrorRaised):
            known = [one for one in (self._failure, event) if one is not None]
            self._failure = min(known, key=lambda one: (-one.attempt, getattr(one.body, "about_others", False), one.t))
