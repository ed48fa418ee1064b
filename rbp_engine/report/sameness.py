"""Whether two runs of the same settings are the same to the last bit, where they part, and what may be why."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from rbp_engine.printable import NO_TEXT, Line, one_line
from rbp_engine.report.collect import RecordedRun, differing, read_recorded
from rbp_engine.report.conditions import conditions
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Event, Metrics, RunStart, Validation, supersede
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.untrusted_files import JSON_LIMIT, read_untrusted

#: Durations, which are never the same.
_TIMES: Final = frozenset({"samples_per_s", "step_ms", "data_ms", "trained_s"})
_FILES: Final = ("model.safetensors", "ema.safetensors")
# Bytes of a file of weights, which is read as a whole: many times those of any network here.
_LARGEST: Final = 2**31
#: What a run's folder or name differs in, though it learns the same.
_NO_REASON: Final = frozenset({"preset"})


@dataclass(frozen=True)
class WeightsCompared:
    """The weights of one checkpoint in both runs: `first` is the first tensor that differs, "" if they are the same.

    `there` is false if one of the runs no longer has them; they are then not compared.
    """

    name: str
    there: bool = True
    first: Line = NO_TEXT

    @property
    def same(self) -> bool:
        return self.there and not self.first


@dataclass(frozen=True)
class Parting:
    """The first metric that differs: after which step, of which kind of event, which field, and its two values."""

    step: int
    kind: str
    field: str
    original: Any
    again: Any


@dataclass(frozen=True)
class Condition:
    """A recorded condition that was not the same."""

    name: str
    original: str
    again: str


@dataclass(frozen=True)
class Sameness:
    """How two runs compare. `measured` is the number of metrics and evaluations that were compared."""

    weights: tuple[WeightsCompared, ...]
    measured: int
    parting: Parting | None
    conditions: tuple[Condition, ...]

    @property
    def same(self) -> bool:
        """Whether everything that could be compared is the same to the last bit, and there was something."""
        known = [one for one in self.weights if one.there]
        return self.parting is None and all(one.same for one in known) and bool(known or self.measured)


def compare_results(original: RunDirectory, again: RunDirectory) -> Sameness:
    """Compare the weights of the last checkpoint and of the best, and all metrics. Raises RunError if a run is damaged.

    Needs no torch.
    """
    count, parting = _first_difference(original, again)
    last, last_again = (run.newest_checkpoint or run.checkpoints / "none" for run in (original, again))
    pairs = (("last", last, last_again), ("best", original.best, again.best))
    weights = [
        _compare(name if file == _FILES[0] else f"{name}, moving average", one / file, other / file)
        for name, one, other in pairs
        for file in _FILES
        if file == _FILES[0] or (one / file).exists() or (other / file).exists()
    ]
    return Sameness(tuple(weights), count, parting, tuple(_conditions(original, again)))


def _compare(name: str, one: Path, other: Path) -> WeightsCompared:
    """Compare two files of weights, but not what their headers say about them."""
    from safetensors import SafetensorError, deserialize

    try:
        contents = (read_untrusted(path, _LARGEST) for path in (one, other))
        here, there = (dict(deserialize(content)) for content in contents)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        return WeightsCompared(name, there=False)
    except (OSError, SafetensorError) as error:
        raise RunError(f"the weights cannot be compared: {error}") from error
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):  # types, shapes and bytes
            return WeightsCompared(name, first=one_line(key))
    return WeightsCompared(name)


def _first_difference(original: RunDirectory, again: RunDirectory) -> tuple[int, Parting | None]:
    """The number of metrics and evaluations in both, and the first field in which they differ."""
    count = 0
    for one, other in zip_longest(_measured(original), _measured(again)):
        if one is None or other is None:
            left: Event = one or other
            there = f"{left.body.kind} of step {left.step}"
            return count, Parting(left.step, left.body.kind, "event", *((there, None) if one else (None, there)))
        here, theirs = _fields(one), _fields(other)
        if here != theirs:
            key = next(key for key in here if here[key] != theirs.get(key))
            return count, Parting(min(one.step, other.step), one.body.kind, key, here[key], theirs.get(key))
        count += 1
    return count, None


def _measured(run: RunDirectory) -> Iterator[Any]:
    for event in supersede(read_events(run.events())):
        if isinstance(event.body, (Metrics, Validation)):
            yield event


def _fields(event: Event) -> dict[str, Any]:
    """What an event says that does not depend on the clock; its step and kind first."""
    known = {key: value for key, value in vars(event.body).items() if key not in _TIMES}
    return {"step": event.step, "kind": event.body.kind} | known


def _conditions(original: RunDirectory, again: RunDirectory) -> Iterator[Condition]:
    tables = [_known(run) for run in (original, again)]
    for name in differing(tables):
        if name not in _NO_REASON:
            yield Condition(name, *(table.get(name, "not recorded") for table in tables))


def _known(run: RunDirectory) -> dict[str, str]:
    """The recorded conditions of a run on which its last bits may depend."""
    recorded = read_recorded(run)
    if not isinstance(recorded, RecordedRun):
        raise RunError(f"{run.id}: {recorded.reason}")
    attempt = last_attempt(run)
    starts = [event.body for event in read_events(run.events()) if isinstance(event.body, RunStart)]
    resumes = sum(not start.exact for start in starts)
    known = conditions(recorded) | dict(sorted((attempt.environment if attempt else {}).items()))
    known["uncommitted changes"] = _hash_of(run.uncommitted_diff)
    if resumes:
        known["resumes that were not exact"] = str(resumes)
    return {name: str(one_line(value, 80)) for name, value in known.items()}


def _hash_of(diff: Path) -> str:
    try:
        return hashlib.sha256(read_untrusted(diff, JSON_LIMIT)).hexdigest()[:8]
    except FileNotFoundError:
        return "none"
    except OSError:
        return "not known"
