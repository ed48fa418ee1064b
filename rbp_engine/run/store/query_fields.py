"""The fields of a query: where each one is in a run, and how it is compared."""

import operator
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rbp_engine.data.catalog import CATALOG
from rbp_engine.guard.alert_rule import COMPARISONS
from rbp_engine.guard.time_span import is_time_span
from rbp_engine.preset import SHORT_NAMES
from rbp_engine.preset.fields import by_key
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import resources_of
from rbp_engine.run.files.energy import PJ_IN_UJ, read_energy
from rbp_engine.run.files.layout import is_called
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import remaining_s
from rbp_engine.run.store import query_values as values
from rbp_engine.run.store.disk_use import known_disk_use
from rbp_engine.run.store.run_settings import dotted_key, settings_of
from rbp_engine.run.store.store import STATUSES, RunRecord
from rbp_engine.settings.spelling import did_you_mean, nearest
from rbp_engine.vocabulary import NETWORKS, TRAINING_METHODS

Test: TypeAlias = Callable[[RunRecord], bool]
Getter: TypeAlias = Callable[[RunRecord], Any]

# Half of the last digit of a percentage on the screens.
_SAME_ACCURACY = 5e-5

#: Known without reading the schema of presets, which takes longer than listing a few runs.
_CHOICES = {"method": tuple(TRAINING_METHODS), "arch": tuple(NETWORKS), "data": tuple(CATALOG)}

# The kinds of fields of presets by their types in words.
_KINDS = {"integer": "number", "number": "number", "choice": "text", "string": "text", "true or false": "text"}


@dataclass(frozen=True)
class Field:
    """A field to select and sort runs by; `kind` is a key of `_TESTS`, `among` all values of a text that has few."""

    name: str
    kind: str
    get: Getter
    among: tuple[str, ...] = ()

    def test(self, sign: str, value: str) -> Test:
        """A test whether a run fits the sign and the text after it. Raises ValueError if they cannot be compared."""
        if sign == "!=":
            equal = self.test("=", value)
            return lambda record: not equal(record)
        return _TESTS[self.kind](self, sign, value)


def find_field(name: str) -> Field:
    """A field by name, short name, or dotted key of a preset or summary. Raises ValueError, and names the nearest."""
    found = _FIELDS.get(name) or _preset_field(name)
    found = found or next((field for known, field in _FIELDS.items() if known.lower() == name.lower()), None)
    if found is None:
        listed = f" Fields: {', '.join(field_names())}, and keys of presets, as optim.lr"
        raise ValueError(f"there is no field '{name}'.{_guess(name) or listed}")
    return found


def _guess(name: str) -> str:
    """A question whether another field was meant; many remember only the last part of a key."""
    if "." in name:
        return did_you_mean(name, [*_FIELDS, *by_key()])
    keys = {key.rpartition(".")[2]: key for key in by_key()} | {field: field for field in field_names()}
    meant = nearest(name, keys)
    return "" if meant is None else f" Did you mean '{keys[meant]}'?"


def no_run_has(name: str, value: str, known: Iterable[str]) -> str:
    """A sentence about a value of a field that no run has, with the one that may be meant, else all that are known."""
    listed = f" There are: {', '.join(filter(None, known))}"
    meant = " It is a cause: cause:pruned" if value.lower() == Cause.PRUNED else did_you_mean(value, known) or listed
    return f"no run has the {name} '{value}'.{meant}"


def choices_of(field: Field) -> tuple[str, ...]:
    """The values that presets allow for a text, none for any; runs of other programs, and own code, have others."""
    if field.kind != "text" or field.name in _CHOICES:
        return _CHOICES.get(field.name, ())
    if field.name in _FIELDS and field.name != "precision":
        return ()
    key = "train.precision" if field.name == "precision" else field.name
    return by_key()[key].choices if key in by_key() else ()


def field_names() -> list[str]:
    """Every field without a dot in its name, for help."""
    return [name for name in _FIELDS if "." not in name]


def word_fits(word: str) -> Test:
    """The test of a bare word: part of the id, label, name, method, a tag or the note, ignoring case."""
    wanted = word.lower()

    def test(record: RunRecord) -> bool:
        summary = record.summary
        texts = (summary.id, summary.label, summary.name, summary.method, *record.tags, record.annotations.note)
        return any(wanted in text.lower() for text in texts)

    return test


def _number_test(read: Callable[[str], float], tolerance: float = 0.0) -> Callable[[Field, str, str], Test]:
    def make(field: Field, sign: str, text: str) -> Test:
        wanted = read(text)
        order = COMPARISONS.get(sign)

        def test(record: RunRecord) -> bool:
            value = field.get(record)
            if not _is_number(value):
                return False
            if order is None and isinstance(value, int) and wanted % 1 == 0:
                return value == wanted
            if order is None:
                return bool(abs(value - wanted) <= max(tolerance, 1e-9 * abs(wanted)))
            return order(value, wanted)

        return test

    return make


def _text_test(field: Field, sign: str, value: str) -> Test:
    if sign in COMPARISONS:
        raise ValueError(f"{field.name} is text: use {field.name}=word or {field.name}:word")
    wanted, whole = value.lower(), sign == "="
    # An id is equal by its end, as where a run is named.
    fits = operator.contains if not whole else is_called if field.name == "id" else operator.eq
    if field.among and not any(wanted == known if whole else wanted in known for known in field.among):
        raise ValueError(no_run_has(field.name, value, field.among))

    def test(record: RunRecord) -> bool:
        found = field.get(record)
        texts: Iterable[Any] = found if isinstance(found, (tuple, list)) else () if found is None else (found,)
        return any(fits(str(one).lower(), wanted) for one in texts)

    return test


def _time_test(field: Field, sign: str, value: str) -> Test:
    """The test of a time; a span means the time that long ago, so that `created>2d` is younger than two days."""
    order = COMPARISONS.get(sign)
    if is_time_span(value):
        if order is None:
            raise ValueError(f"a moment is not equal to a span: use {field.name}>{value} for younger runs")
        back = values.span(value)
        return lambda record: _is_number(field.get(record)) and order(field.get(record), time.time() - back)
    begin, end = values.moments(value)
    if order is None:
        return lambda record: _is_number(field.get(record)) and begin <= field.get(record) < end
    # A day counts as a whole: `>` starts at its end, `<=` includes all of it.
    bound = end if sign in (">", "<=") else begin
    reached = sign in (">", ">=")
    return lambda record: _is_number(field.get(record)) and (field.get(record) >= bound) is reached


def _any_test(field: Field, sign: str, value: str) -> Test:
    """The test of a value of unknown type: compared as numbers if both are numbers, else as text."""
    try:
        as_number = _number_test(values.number)(field, sign, value)
    except ValueError:
        return _text_test(field, sign, value)
    if sign in COMPARISONS:
        return as_number
    as_text = _text_test(field, sign, value)
    return lambda record: (as_number if _is_number(field.get(record)) else as_text)(record)


_TESTS: dict[str, Callable[[Field, str, str], Test]] = {
    "accuracy": _number_test(values.accuracy, _SAME_ACCURACY),
    "number": _number_test(values.number),
    "size": _number_test(values.size),
    "span": _number_test(values.span),
    "time": _time_test,
    "text": _text_test,
    "any": _any_test,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _preset_field(name: str) -> Field | None:
    """A field of the run's preset, which is read only for a query that uses one."""
    key = dotted_key(name)
    info = by_key().get(key or "")
    # The entries of a table, such as neuron.surrogate_args.alpha, may have any type.
    return None if key is None else Field(name, _KINDS.get(info.type if info else "", "any"), _of_preset(key))


def _of_preset(key: str) -> Getter:
    return lambda record: settings_of(record).get(key)


def _synops(record: RunRecord) -> Any:
    energy = read_energy(record.run)
    return None if energy is None else round(energy.synops)


def _energy_uj(record: RunRecord) -> Any:
    energy = read_energy(record.run)
    return None if energy is None else float(f"{energy.spiking.total_pj / PJ_IN_UJ:.4g}")


def _of_sweep(part: str) -> Getter:
    return lambda record: getattr(read_run_json(record.run).sweep, part, None)


_in = operator.attrgetter
_SCORES = ("top1", "top5", "ema_top1")
#: The other fields of the summary by their own names, as `phase`, by how they are compared.
_BY_OWN_NAMES = {
    "text": ("phase", "alert", "split", "preset", "experiment", "method", "name", "label", "program", "origin"),
    "number": (
        *("epoch", "step", "steps", "last.loss", "last.epoch", "best.loss", "best.epoch", "train.loss", "train.epoch"),
        *("timesteps_needed", "samples_per_s", "step_ms", "attempt", "timesteps", "seed", "epochs", "origin_epochs"),
        *("paced_step", "steps_per_epoch", "samples_per_epoch", "samples_per_step"),
    ),
    "accuracy": (
        *(f"{part}.{score}" for part in ("last", "best", "train") for score in _SCORES),
        *("test.last", "test.best", "test.ema"),
    ),
    "size": ("mem_peak",),
    "span": ("trained_s",),
    "time": ("paced_from", "progressed", "updated", "created"),
}
_FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("acc", "accuracy", _in("summary.best.top1")),
        Field("best", "accuracy", _in("summary.best.top1")),
        Field("last", "accuracy", _in("summary.last.top1")),
        Field("ema", "accuracy", _in("summary.last.ema_top1")),
        Field("top5", "accuracy", _in("summary.last.top5")),
        Field("test", "accuracy", _in("summary.test.last")),
        Field("loss", "number", _in("summary.train.loss")),
        Field("val_loss", "number", _in("summary.last.loss")),
        Field("T", "number", _in("summary.timesteps")),
        Field("T_needed", "number", _in("summary.timesteps_needed")),
        Field("status", "text", _in("verdict.status"), STATUSES),
        Field("reason", "text", _in("verdict.reason")),
        Field("cause", "text", _in("verdict.cause"), tuple(Cause)),
        Field("run", "text", _in("summary.called")),
        Field("id", "text", _in("run.id")),
        Field("tag", "text", _in("tags")),
        Field("tags", "text", _in("tags")),
        Field("note", "text", _in("annotations.note")),
        Field("sweep", "text", _of_sweep("name")),
        Field("trial", "number", _of_sweep("trial")),
        Field("archived", "text", _in("hidden")),
        Field("attempts", "number", _in("summary.attempt")),
        Field("host", "text", lambda record: record.summary.host or read_run_json(record.run).host),
        Field("age", "span", lambda record: time.time() - record.summary.created),
        Field("eta", "span", lambda record: remaining_s(record.summary) if record.verdict.live else None),
        Field("trained", "span", _in("summary.trained_s")),
        Field("speed", "number", _in("summary.samples_per_s")),
        Field("size", "size", lambda record: known_disk_use(record.run)),
        Field("mem", "size", _in("summary.mem_peak")),
        Field("energy_uj", "number", _energy_uj),
        Field("synops", "number", _synops),
        Field("processes", "number", lambda record: resources_of(record.run).world_size),
        Field("precision", "text", _of_preset("train.precision")),
        Field("lr", "number", _of_preset(SHORT_NAMES["lr"])),
        Field("batch", "number", _of_preset(SHORT_NAMES["batch"])),
        Field("arch", "text", _of_preset(SHORT_NAMES["arch"])),
        Field("data", "text", _of_preset(SHORT_NAMES["data"])),
        *(Field(name, kind, _in(f"summary.{name}")) for kind, names in _BY_OWN_NAMES.items() for name in names),
    )
}
