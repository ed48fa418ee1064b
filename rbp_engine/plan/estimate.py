"""What the rest of a sweep will take: known from runs that it has, or from measurements of the caller's."""

import heapq
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rbp_engine.plan.points import SweepPoint
from rbp_engine.plan.states import PointState, Standing
from rbp_engine.preset import LoadedPreset
from rbp_engine.preset.fields import values_of
from rbp_engine.run.files.attempts import most_processes, read_attempts
from rbp_engine.run.store.store import RunRecord

#: Settings that enter a formula and change neither the time of a step nor the memory, and what is not trained at all.
FREE = frozenset(
    {
        *(f"neuron.{name}" for name in ("decay", "threshold", "v_reset")),
        *(f"loss.{name}" for name in ("label_smoothing", "mse_weight", "distill_weight", "distill_temperature")),
        *(f"loss.{name}" for name in ("branches_weight", "branches_distill", "branches_temperature")),
        *(f"optim.{name}" for name in ("lr", "momentum", "weight_decay", "decay_norms", "schedule", "schedule_by")),
        *(f"optim.{name}" for name in ("warmup_epochs", "warmup_steps", "lr_min", "milestones", "gamma")),
        *(f"optim.{name}" for name in ("restart_epochs", "restart_mult", "lr_factors")),
        *("model.init", "run.seed", "run.name", "run.tags", "train.epochs"),
    }
)


@dataclass(frozen=True)
class Price:
    """What a run takes: seconds for its start and for each epoch, and bytes of memory, None if unknown.

    That is known from so many `runs`, or else `origin` says how.
    """

    start_s: float
    epoch_s: float
    memory: int | None
    origin: str = ""
    runs: int = 0


@dataclass(frozen=True)
class Estimate:
    """What the rest of a sweep takes: `seconds` with `slots` runs at a time, `device_s` one after the other.

    `memory` is that of the largest run, None if unknown; `unknown` is the number of runs whose price is not known.
    """

    seconds: float
    device_s: float
    memory: int | None
    slots: int
    origins: tuple[str, ...]
    unknown: int


def kind_of(loaded: LoadedPreset) -> str:
    """What runs have in common that take the same time for an epoch, and the same memory."""
    kept = {key: value for key, value in values_of(loaded.preset).items() if key not in FREE}
    return json.dumps([kept, {key: own.digest for key, own in loaded.own_code.items()}], sort_keys=True, default=str)


def known_prices(states: Iterable[PointState], processes: int) -> dict[str, Price]:
    """The prices of the kinds of which a run by so many processes has trained, by kind: the medians over these runs."""
    found: dict[str, list[tuple[float, int | None]]] = {}
    for state in states:
        if (
            (record := state.record)
            and not record.verdict.live
            and most_processes(record.run) == processes
            and (seconds := _epoch_s(record)) is not None
        ):
            found.setdefault(kind_of(state.point.loaded), []).append((seconds, record.summary.mem_peak))
    prices = {}
    for kind, measured in found.items():
        memory = max((peak for _, peak in measured if peak is not None), default=None)
        prices[kind] = Price(0.0, statistics.median(each for each, _ in measured), memory, runs=len(measured))
    return prices


def unpriced(states: Iterable[PointState], prices: Mapping[str, Price]) -> dict[str, SweepPoint]:
    """A point of each kind that is still to be trained and has no price, by kind."""
    found: dict[str, SweepPoint] = {}
    for state in states:
        if state.standing in (Standing.MISSING, Standing.RESUMABLE):
            kind = kind_of(state.point.loaded)
            if kind not in prices:
                found.setdefault(kind, state.point)
    return found


def estimate(states: Sequence[PointState], prices: Mapping[str, Price], slots: int) -> Estimate:
    """What it takes to train what is not done, with `slots` runs at a time, each started when another has ended."""
    times, used, unknown = [], dict[str, Price](), 0
    for state in states:
        if state.standing in (Standing.DONE, Standing.FAILED):
            continue
        kind = kind_of(state.point.loaded)
        if (price := prices.get(kind)) is None:
            unknown += 1
            continue
        epochs, done = state.point.loaded.preset.train.epochs, state.record.summary.epoch if state.record else 0
        times.append(price.start_s + max(0, epochs - done) * price.epoch_s)
        used[kind] = price
    free = [0.0] * max(1, slots)
    for seconds in times:
        heapq.heapreplace(free, free[0] + seconds)
    memory = max((price.memory for price in used.values() if price.memory is not None), default=None)
    runs = sum(price.runs for price in used.values())  # of all kinds together
    own = f"{runs} run{'' if runs == 1 else 's'} of it" if runs else ""
    origins = tuple(filter(None, dict.fromkeys([own, *(price.origin for price in used.values())])))
    return Estimate(max(free), sum(times), memory, slots, origins, unknown)


def _epoch_s(record: RunRecord) -> float | None:
    """Seconds that a run has taken for an epoch; None if it has not trained.

    They are those of the clock to its last step or evaluation, its start included, or if it was resumed those of its
    steps. Its summary may be written long after, as when it waits in the queue and is taken out.
    """
    summary, attempts = record.summary, read_attempts(record.run)
    if not summary.steps or not summary.step:
        return None
    epochs = summary.epochs * summary.step / summary.steps
    started = attempts[0].t if len(attempts) == 1 else None
    if started is not None and summary.progressed > started:
        return (summary.progressed - started) / epochs
    return summary.trained_s / epochs or None
