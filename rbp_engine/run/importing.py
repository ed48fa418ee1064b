"""Runs from files that other programs have written: TensorBoard's events, and tables of numbers in CSV.

A file of events is a chain of records: the length in 8 bytes, its checksum in 4, an event (a protobuf message), and the
checksum of that. What is whole before the first damaged record is taken.
"""

import csv
import hashlib
import io
import itertools
import math
import os
import re
import struct
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from rbp_engine.codec import LARGEST, LATEST_T
from rbp_engine.printable import LONGEST_NAME, LONGEST_TEXT, one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import LAST, RunStart, WarningRaised
from rbp_engine.run.files.layout import RunDirectory, contents
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import Summary, load_summary
from rbp_engine.run.store.trash import move_to_trash
from rbp_engine.run.tracking.foreign import ForeignRun, Logged, Program, create_foreign
from rbp_engine.run.tracking.given import ACCURACIES, SEED, Part, given_settings, place_of
from rbp_engine.untrusted_files import MIB, open_untrusted

#: Bytes of a file, of events or CSV.
LARGEST_FILE: Final = 2 * 2**30
LARGEST_TABLE: Final = 256 * MIB
#: Numbers and names of curves in a run, which are all in memory at once. Empty rows and records count as a number.
MOST_NUMBERS: Final = 2_000_000
MOST_CURVES: Final = 500
MOST_RUNS: Final = 1000
#: Larger records hold an image, a histogram or a graph, and are passed over unread.
_LARGEST_RECORD: Final = MIB
_LONGEST_LINE: Final = MIB
_EVENTS: Final = "tfevents"
#: The folder of `SummaryWriter.add_hparams`, which is named by the time.
_HPARAMS_FOLDER: Final = re.compile(r"\d{9,11}\.\d+")
#: Types of tensors (as numbers of TensorBoard's DataType) that may hold a number: its field, and its bytes.
_NUMBERS: Final = {1: ("float_val", "<f"), 2: ("double_val", "<d"), 3: ("int_val", "<i"), 9: ("int64_val", "<q")}
_TEXT: Final = 7
#: Columns of CSV that are no curves, by what they are: their names in lower case; and those of `rbp runs csv`.
_KINDS: Final = {
    "step": ("step", "global_step", "iteration", "iter"),
    "epoch": ("epoch",),
    "t": ("t", "wall_time", "wall time", "timestamp"),
    "split": ("split",),
}
_OF_RBP: Final = ("run", "kind", "attempt", "weights", "top1_by_step")
_FIRST_TIME: Final = 1e8  # a smaller `t` is no time of a clock
_SPLITS: Final = {"test": "test/", "held-out": "val/"}
_AGAIN: Final = "numbers that were logged again later"
_PERCENT: Final = "--percent"
_EPOCH: Final = "epoch"  # a column, or a curve that says the epoch of its steps


class _Damaged(ValueError):
    """From here on a file is not whole."""


@dataclass
class _Table:
    """What files say of one run: the moment (seconds since the epoch) and the number at each step, by curve, and the
    epoch of each step. `by_epoch`: the steps are epochs. `from_rbp`: it is a table of `rbp runs csv`. `identity` is a
    SHA-256 (hexadecimal) of their bytes."""

    curves: defaultdict[str, dict[int, tuple[float, float]]] = field(default_factory=lambda: defaultdict(dict))
    epochs: dict[int, int | None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    identity: str = ""
    whole: bool = True
    by_epoch: bool = False
    from_rbp: bool = False
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)
    _count: int = 0

    def add(self, step: int, t: float, name: str, number: float, epoch: int | None = None) -> bool:
        """Add a number of a curve, and return whether it replaces another one of that step."""
        points = self.curves[name[:LONGEST_NAME]]
        _, before = points.get(step, (t, number))
        points[step], self.epochs[step] = (t, number), self.epochs.get(step) if epoch is None else epoch
        self.count(0)
        return before is not number and repr(before) != repr(number)  # NaN is no other number than NaN

    def count(self, values: int) -> None:
        """Count values that are read, whatever they are. Raises RunError if these are too many, or the curves."""
        self._count += values
        if self._count > MOST_NUMBERS or len(self.curves) > MOST_CURVES:
            raise RunError(f"it has more than {MOST_CURVES} curves, or {MOST_NUMBERS} numbers, cells or records")

    def leave_out(self, what: str, where: str) -> None:
        """Count what is not kept; of each kind the first is named."""
        count, first = self.left_out.get(what, (0, where))
        self.left_out[what] = (count + 1, first)

    def restart(self, names: Iterable[str], step: int) -> None:
        """Leave out what these curves have from a step on: a run that was resumed logs it again."""
        for name in names:
            points = self.curves[name[:LONGEST_NAME]]
            again = [*itertools.takewhile(lambda one: one >= step, reversed(points))]
            for one in reversed(again):
                del points[one]
                self.leave_out(_AGAIN, f"{name} at step {one}")

    def give(self, settings: Mapping[str, Any]) -> None:
        """Add settings; of a text that comes twice, the first counts."""
        self.settings = {**settings, **self.settings}
        if len(self.settings) > MOST_CURVES:
            raise RunError(f"it has more than {MOST_CURVES} settings")

    def take_epochs(self) -> None:
        """Take a curve of whole epochs, as Lightning logs it, for the epochs of its steps and of those between them.

        It was logged at the beginning of each epoch if the first step has one, else at its end.
        """
        points = self.curves.get(_EPOCH, {})
        if not points or not all(number.is_integer() and 0 <= number < LARGEST for _, number in points.values()):
            return
        del self.curves[_EPOCH]
        epoch, steps = None, sorted(self.epochs)
        for step in steps if steps[0] in points else reversed(steps):
            if step in points:
                epoch = int(points[step][1])
            self.epochs[step] = epoch

    def count_epochs_from_1(self, trained: Set[int], evaluated: Set[int]) -> None:
        """Count the epochs of training that begin with 0 from 1, unless those of evaluations are complete epochs.

        These are steps with numbers of either kind.
        """
        known = {step: epoch for step, epoch in sorted(self.epochs.items()) if epoch is not None}
        first = min((epoch for step, epoch in known.items() if step in trained or not trained), default=1)
        if self.from_rbp or first > 0:  # in a table of rbp they are complete, too
            return
        training = None
        for step, epoch in known.items():
            if step not in evaluated:
                training = epoch
            elif training is not None and epoch > training:
                return
        self.notes.append("its epochs count from 0: here the first is epoch 1")
        later = int(self.by_epoch)
        self.epochs = {step + later: None if epoch is None else epoch + 1 for step, epoch in self.epochs.items()}
        for name, points in self.curves.items():
            self.curves[name] = {step + later: point for step, point in points.items()}


@dataclass(frozen=True)
class Imported:
    """A run of an import; it is not `new` if the same was imported before. `notes` say what was not taken."""

    run: RunDirectory
    name: str
    curves: int
    numbers: int
    new: bool
    notes: tuple[str, ...]


def import_runs(
    paths: Iterable[Path], runs: Path, *, name: str = "", tags: Iterable[str] = (), percent: bool = False
) -> list[Imported | RunError]:
    """Make a run of each folder with files of events at or below the paths, or of a file, of events or CSV.

    A run is called `name`, or as its folder or file. With `percent`, accuracies are percentages.

    What cannot be read, is too large, or holds no numbers, as of a run that crashed at once, is a RunError in its
    place. It is raised if there is nothing else.
    """
    found: list[Imported | RunError] = []
    for path in paths:
        try:
            found += [
                _import(files, runs, name, list(map(one_line, tags)), percent=percent) for files in _sources(path)
            ]
        except RunError as error:
            found.append(RunError(f"cannot import {path}: {error}"))
    if len(found) == 1 and isinstance(found[0], RunError):
        raise found[0]
    return found


def _import(files: list[Path], runs: Path, name: str, tags: list[str], *, percent: bool) -> Imported | RunError:
    try:
        return _write(_read(files), runs, one_line(name), tags, files[0], percent=percent)
    except OSError as error:
        return RunError(f"cannot import {error.filename or files[0]}: {error.strerror}")
    except RunError as error:
        return RunError(f"cannot import {files[0]}: {error}")


def _called(path: Path) -> str:
    file = Path(os.path.abspath(path))  # noqa: PTH100  # a link keeps its name
    return one_line(file.parent.name if _EVENTS in file.name else file.stem)


def _sources(path: Path) -> list[list[Path]]:
    """The files of each run. Raises RunError if there is none, or something cannot be read."""
    if not path.is_dir():
        return [[path]]
    found: dict[Path, list[Path]] = {}
    for file in (one for one, _ in contents(path) if _EVENTS in one.name and not one.is_dir()):
        of_hparams = file.parent.parent in found and _HPARAMS_FOLDER.fullmatch(file.parent.name)
        found.setdefault(file.parent.parent if of_hparams else file.parent, []).append(file)
        if len(found) > MOST_RUNS:
            raise RunError(f"there are more than {MOST_RUNS} runs in it")
    if not found:
        raise RunError("there are no files of TensorBoard in it; name files of CSV one by one")
    return list(found.values())


def _read(files: list[Path]) -> _Table:
    table, found = _Table(), hashlib.sha256()
    for path in files:
        read, limit = (_read_events, LARGEST_FILE) if _EVENTS in path.name else (_read_csv, LARGEST_TABLE)
        with open_untrusted(path, limit=limit) as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
            file.seek(0)
            try:
                read(file, path, table)
            except _Damaged as error:
                table.whole = False
                table.notes.append(one_line(f"{path.name} {error}: what is before it was taken"))
    if _EVENTS in files[0].name:
        table.take_epochs()
    table.curves = defaultdict(dict, {name: points for name, points in table.curves.items() if points})
    for what, (count, where) in table.left_out.items():
        table.notes.append(one_line(f"left out: {count:,} {what}, the first: {where}", LONGEST_NAME))
    if not table.curves:
        raise RunError(one_line("; ".join(["it holds no numbers", *table.notes]), 2 * LONGEST_NAME))
    table.identity = found.hexdigest()
    return table


def _read_events(file: BufferedReader, path: Path, table: _Table) -> None:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    begun: set[str] = set()
    for record in _records(file):
        try:
            event = Event.FromString(record)
        except DecodeError:
            raise _Damaged(f"has no event before byte {file.tell()}") from None
        table.count(max(1, len(event.summary.value)))
        if event.session_log.status == event.session_log.START:
            table.count(len(table.curves))
            table.restart([*table.curves], event.step)
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == "hparams":
                table.give(_hparams(plugin.content))
            elif value.tensor.dtype == _TEXT and plugin.plugin_name == "text" and value.tensor.string_val:
                text = value.tensor.string_val[0].decode(errors="replace")
                table.give({value.tag.removesuffix("/text_summary")[:LONGEST_NAME]: text[: LONGEST_TEXT + 1]})
            number = value.simple_value if value.HasField("simple_value") else _scalar(value.tensor)
            where = f"{value.tag} at step {event.step}"
            if number is not None and not (0 <= event.step < LARGEST and 0 <= event.wall_time <= LATEST_T):
                table.leave_out("numbers of impossible steps or times", where)
            elif number is not None:
                if value.tag not in begun:
                    begun.add(value.tag)
                    table.restart([value.tag], event.step)
                if table.add(event.step, event.wall_time, value.tag, number):
                    table.leave_out(_AGAIN, where)


def _records(file: BufferedReader) -> Iterator[bytes]:
    """The records of a file that may hold numbers. Raises _Damaged at the first that is not whole."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    size = os.fstat(file.fileno()).st_size
    while head := file.read(12):
        at = file.tell() - len(head)
        if len(head) < 12:
            raise _Damaged(f"is cut off at byte {at}")
        length, checksum = struct.unpack("<QI", head)
        if masked_crc32c(head[:8]) != checksum:
            raise _Damaged(f"is damaged at byte {at}")
        if file.tell() + length + 4 > size:
            raise _Damaged(f"is cut off at byte {at}")
        if length > _LARGEST_RECORD:
            file.seek(length + 4, os.SEEK_CUR)
            continue
        record = file.read(length)
        if struct.pack("<I", masked_crc32c(record)) != file.read(4):
            raise _Damaged(f"is damaged at byte {at}")
        yield record


def _scalar(tensor: Any) -> float | None:
    """The number in a tensor that holds a single one."""
    if tensor.dtype not in _NUMBERS or any(dim.size != 1 for dim in tensor.tensor_shape.dim):
        return None
    name, kind = _NUMBERS[tensor.dtype]
    values = getattr(tensor, name)
    if not values and len(tensor.tensor_content) == struct.calcsize(kind):
        values = struct.unpack(kind, tensor.tensor_content)
    return float(values[0]) if len(values) == 1 else None


def _hparams(content: bytes) -> dict[str, Any]:
    """The settings in what the plugin of that name has written at the start of a run."""
    from google.protobuf.message import DecodeError
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        given = HParamsPluginData.FromString(content).session_start_info.hparams
    except DecodeError:
        return {}
    found = {name: getattr(value, value.WhichOneof("kind") or "", None) for name, value in given.items()}
    # It has all numbers as floats.
    whole = {name: int(value) for name, value in found.items() if isinstance(value, float) and value.is_integer()}
    return found | whole


def _read_csv(file: BufferedReader, path: Path, table: _Table) -> None:
    modified = os.fstat(file.fileno()).st_mtime
    try:
        rows = enumerate(csv.reader(_lines(file), strict=True), start=1)
        head = [name.strip() for name in next(rows, (1, []))[1]]
        where = _where(head, table)
        counted = "step" if "step" in where else _EPOCH
        table.by_epoch = counted == _EPOCH
        for row, cells in rows:
            filled = {at: cell for at, cell in enumerate(map(str.strip, cells)) if cell}
            table.count(len(filled) or 1)
            if max(filled, default=-1) >= len(head):
                raise RunError(f"row {row} has {len(cells)} cells, and its head {len(head)}")
            known = {kind: filled.pop(at, "") for kind, at in where.items() if kind != "t"}
            t = _number(filled.get(where.get("t", -1), ""))
            if t is not None and _FIRST_TIME <= t <= LATEST_T:
                del filled[where["t"]]
            else:
                t = modified
            if not filled:
                continue
            epoch = _whole(known.get(_EPOCH, ""))
            step = _whole(known[counted]) if counted in where else row - 1
            if step is None:
                found = known[counted] or "empty"
                raise RunError(f"row {row}, column {head[where[counted]]}: {found}, not a whole number from 0")
            if epoch is None and known.get(_EPOCH):
                table.leave_out("epochs that are not whole", f"{known[_EPOCH]} in row {row}")
            weights = known.get("weights", "")
            prefix = ("" if weights in ("", LAST) else f"{weights}/") + _SPLITS.get(known.get("split", ""), "")
            for at, cell in filled.items():
                name, number = head[at].removeprefix("own."), _number(cell)
                named = path.stem.rpartition("-tag-")[2] if name == "Value" else f"{prefix}{name}"
                if number is None or not name:
                    what = f"cells of {name} that are no numbers" if name else "cells of a column without a name"
                    table.leave_out(what, f"{cell} in row {row}")
                elif table.add(step, t, named, number, epoch):
                    raise RunError(
                        f"row {row}, column {head[at]}: a row above has another number at {step}; a table is one run"
                    )
    except (csv.Error, UnicodeDecodeError) as error:
        raise RunError(f"it is no table of CSV: {error}") from None


def _where(head: list[str], table: _Table) -> dict[str, int]:
    """The columns that are no curves, by what they are. Raises RunError for too many columns, and for equal ones."""
    if len(head) > 2 * MOST_CURVES:
        raise RunError(f"it has {len(head):,} columns, more than {2 * MOST_CURVES}")
    names = [name.removeprefix("own.") for name in head if name]
    if equal := [name for name in names if names.count(name) > 1]:
        raise RunError(f"row 1: {names.count(equal[0])} columns are called {equal[0]}")
    lower = [name.lower() for name in head]
    table.from_rbp = {"kind", "attempt"} <= {*lower}
    kinds = _KINDS | ({name: (name,) for name in _OF_RBP} if table.from_rbp else {})
    found = {kind: [at for at, name in enumerate(lower) if name in words] for kind, words in kinds.items()}
    return {kind: places[0] for kind, places in found.items() if places}


def _lines(file: BufferedReader) -> Iterator[str]:
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    while line := text.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise csv.Error(f"it has a line of more than {_LONGEST_LINE} characters")
        yield line


def _number(text: str) -> float | None:
    try:
        return float(text) if text and "_" not in text else None  # Python reads 1_5 as 15
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number.is_integer() and 0 <= number < LARGEST else None


def _write(table: _Table, runs: Path, name: str, tags: list[str], path: Path, *, percent: bool) -> Imported:
    """The run of a table, unless it is there; one that was imported in another way is replaced."""
    run = RunDirectory(runs / f"imported-{table.identity[:8]}-{table.identity[8:12]}")
    places, scales, notes = _places(table, percent=percent)
    numbers = sum(map(len, table.curves.values()))
    steps: dict[Part, set[int]] = {part: set() for part in Part}
    for curve, (part, _) in places.items():
        steps[part].update(table.curves[curve])
    evaluations = steps[Part.HELD_OUT] | steps[Part.TEST]
    table.count_epochs_from_1(steps[Part.TRAINING], evaluations)
    if evaluations and not any(table.epochs.values()):
        notes.append("it says no epochs: its evaluations are counted as such")
    # The name and the tags that nobody asks for are those of what is there.
    called, command = name or _called(path), [*sys.argv, *([_PERCENT] if percent and _PERCENT not in sys.argv else [])]
    if run.run_json.is_file():
        known, before = load_summary(run), read_run_json(run).command.split()
        if name in ("", known.name) and tags in ([], known.tags) and (not percent or _PERCENT in before):
            return Imported(run, known.name, len(places), numbers, new=False, notes=tuple(table.notes))
        move_to_trash(run)
        notes.append("it replaces the run that was imported in another way, which is in the trash")
    result = Imported(run, called, len(places), numbers, new=True, notes=(*table.notes, *notes))
    settings = given_settings(table.settings)
    rows = defaultdict[int, dict[str, tuple[float, float]]](dict)
    for curve, points in table.curves.items():
        for step, point in points.items():
            rows[step][curve] = point
    # By step: a clock may have been set back while it was logged.
    order = [(step, min(t for t, _ in row.values())) for step, row in sorted(rows.items())]
    begin, end = min(t for _, t in order), max(t for _, t in order)
    program = Program("TensorBoard" if _EVENTS in path.name else "CSV", command, here=False)
    # Without a seed, nothing says that runs of the same settings differ in it alone.
    trained_by = program.name if SEED in settings.values else f"{program.name} {table.identity}"

    def record(run: RunDirectory, summary: Summary) -> Summary:
        writer = ForeignRun(
            run, summary, RunStart(method=one_line(summary.method), steps=max(rows)), t=begin, timed=False
        )
        for step, t in order:
            parts = defaultdict[Part, dict[str, float | None]](dict)
            for curve, (_, value) in rows[step].items():
                part, known_as = places[curve]
                parts[part][known_as] = value * scales.get(curve, 1.0) if math.isfinite(value) else None
            writer.add(Logged(t, step, table.epochs[step], parts))
            writer.flush()
        for note in result.notes:
            writer.say(WarningRaised(one_line(note)), t=end)
        writer.flush()
        summary.epochs = summary.epoch
        writer.end("completed" if table.whole else "stopped", "" if table.whole else result.notes[0], t=end)
        writer.events.sync()
        writer.events.close()
        return summary

    create_foreign(
        settings,
        program,
        runs,
        run.id,
        settings.experiment(trained_by),
        record,
        name=called,
        tags=tags,
        created=begin,
        progressed=begin,
    )
    return result


def _places(table: _Table, *, percent: bool) -> tuple[dict[str, tuple[Part, str]], dict[str, float], list[str]]:
    """Where the numbers of each curve belong, by what they are multiplied, and what is to be said about that.

    Accuracies are fractions; a curve of others is one of the run's own, unless these are percentages.
    """
    places: dict[str, tuple[Part, str]] = {}
    scales: dict[str, float] = {}
    notes = []
    for name, points in table.curves.items():
        most = max((number for _, number in points.values() if number > 0), default=0.0)  # without NaN
        place = place_of(name)
        if place[1] in ACCURACIES and place[0] is not Part.OWN:
            if percent and most <= 100:
                scales[name] = 0.01
            elif most > 1:
                way = ": a metric of its own without --percent" if most <= 100 else ": it is a metric of its own"
                notes.append(f"{name} goes up to {most:g}, while accuracies are from 0 to 1{way}")
                place = (Part.OWN, name)
        places[name] = (Part.OWN, name) if place in places.values() else place
    return places, scales, notes
