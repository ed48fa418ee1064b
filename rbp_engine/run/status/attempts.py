"""The attempts of a run: how long it has been working, and how long it still needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from rbp_engine.run.files.events import Event, Metrics, RunStart
from rbp_engine.run.files.summary import Summary

# Until an attempt's steps span this long, step durations predict better than event times: events come in bursts.
PACED_AFTER_S = 5.0


@dataclass(frozen=True)
class Mark:
    """Where training stood, and when (seconds since the epoch)."""

    t: float
    step: int


@dataclass
class Attempt:
    """One attempt, from its events: `start` is when training could begin, `last_seen` the newest sign of life.

    `first` and `newest` are its first and newest training metrics, None before there are any. `resumed_from` names a
    checkpoint. `epochs` are those of the whole run, `memory` the bytes that a process of it may use at most.
    """

    number: int
    start: Mark
    last_seen: float
    resumed_from: str | None = None
    device: str = ""
    host: str = ""
    processes: int = 1
    steps_per_epoch: int | None = None
    epochs: int | None = None
    memory: int | None = None
    first: Mark | None = None
    newest: Mark | None = None

    def add(self, event: Event) -> None:
        """Update from an event of this attempt."""
        self.last_seen = max(self.last_seen, event.t)
        if isinstance(event.body, Metrics) and event.rank == 0:
            self.newest = Mark(event.t, event.step)
            self.first = self.first or self.newest


def begin(event: Event, start: RunStart) -> Attempt:
    """The attempt that begins with this event."""
    return Attempt(
        number=event.attempt,
        start=Mark(event.t, event.step),
        last_seen=event.t,
        resumed_from=start.resumed_from,
        device=start.device or "",
        host=start.host or "",
        processes=start.world_size,
        steps_per_epoch=start.steps_per_epoch,
        epochs=start.epochs,
        memory=start.memory,
    )


def elapsed_s(attempts: Sequence[Attempt], now: float | None = None) -> float:
    """Seconds that the attempts have worked, without the time between them; the last one until `now` if given."""
    total = sum(max(0.0, attempt.last_seen - attempt.start.t) for attempt in attempts)
    if attempts and now is not None:
        total += max(0.0, now - max(attempts[-1].last_seen, attempts[-1].start.t))
    return total


def attempt_remaining_s(attempts: Sequence[Attempt], summary: Summary) -> float | None:
    """Seconds to the last step at the pace of the newest attempt, evaluations and checkpoints included.

    Earlier attempts do not count: they may have run on another machine. None before the attempt's first metrics.
    """
    if not attempts or attempts[-1].number != summary.attempt or not summary.steps:
        return None
    first, newest = attempts[-1].first, attempts[-1].newest
    if first is None or newest is None:
        return None
    left = max(0, summary.steps - max(summary.step, newest.step))
    span, steps = newest.t - first.t, newest.step - first.step
    if span >= PACED_AFTER_S and steps > 0:
        return left * span / steps
    return None if summary.step_ms is None else left * summary.step_ms / 1000.0
