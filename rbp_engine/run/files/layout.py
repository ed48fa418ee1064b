"""Where the files of a run are, how a run is named, and how files are written atomically."""

import contextlib
import json
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rbp_engine.codec import decode
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.untrusted_files import JSON_LIMIT, parse_json, read_untrusted
from rbp_engine.vocabulary import TRAINING_METHODS

T = TypeVar("T")
Other = TypeVar("Other")

# A run's id is a folder name: no separators, not hidden, no characters special to a shell.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
SHORT_LENGTH = 4
#: An id that rbp has made, for a run, a sweep's, an import's or a search's, and what it ends in.
_MADE = re.compile(
    rf"(?:\d{{8}}-\d{{6}}-.+?|(?:imported|.+?-(?:{'|'.join(TRAINING_METHODS)})(?:-\d+)?)-[0-9a-f]{{8}}|.+?-\d{{3,5}})"
    r"-([0-9a-f]{4}(?:-\d+)?)"
)
CHECKPOINT = re.compile(r"step-(?:\d{8}|[1-9]\d{8,})")
#: Folders in each other that are looked into: far more than any program makes.
DEEPEST = 64
#: The folder of what Python compiles.
CACHE = "__pycache__"
#: The folders that a run writes into.
_WRITTEN = ("attempts", "checkpoints", "control", "events", "ranks", "tensorboard")
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair


class _In:
    """What is in the folder of a run, by its path there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, run: "RunDirectory", _kind: type) -> Path:
        return run.path / self._path


@dataclass(frozen=True)
class RunDirectory:
    """The folder `<runs>/<id>` of one run; every path in it comes from here."""

    path: Path

    #: What the run is and where it comes from: identity, settings, versions, git state, command. Written once.
    run_json = _In("run.json")
    #: The resolved preset, for people and for the worker; the same settings as in run.json.
    preset_toml = _In("preset.toml")
    #: What lists of runs read: status, progress, last and best scores. Made anew if it is missing.
    summary_json = _In("summary.json")
    #: The uncommitted changes of the repository in which the run was made; absent if there were none.
    uncommitted_diff = _In("uncommitted.diff")
    #: Tags and a note added to the run later; absent if there are none.
    annotations_json = _In("annotations.json")
    #: What `rbp eval` has found about the weights; absent if nobody asked.
    evaluation_json = _In("evaluation.json")
    #: Operations and energy of the network for one image; absent unless they were measured.
    energy_json = _In("energy.json")
    #: Copies of the user's own networks, data sets and metrics that the preset names; absent if it names none.
    code = _In("code")
    #: A copy of the weights that the run distills from; absent if it has no teacher.
    teacher = _In("teacher.safetensors")
    #: stdout and stderr of the processes.
    ranks = _In("ranks")
    checkpoints = _In("checkpoints")
    #: Hard-linked copy of the checkpoint with the best validation accuracy.
    best = _In("checkpoints/best")
    attempts = _In("attempts")
    tensorboard = _In("tensorboard")
    control = _In("control")
    #: Its presence asks the worker to save and end; `stop_request.py` reads why.
    stop_request = _In("control/stop")
    #: Its presence says that the processes are killed on purpose: not a fault, nothing to retry.
    kill_request = _In("control/kill")
    #: Its presence asks the worker for a checkpoint now; the worker removes it.
    checkpoint_request = _In("control/checkpoint")

    @property
    def id(self) -> str:
        return self.path.name

    def events(self, rank: int = 0) -> Path:
        """Events of one rank, one JSON object per line."""
        return self.path / "events" / f"rank{rank}.jsonl"

    def ranks_with_events(self) -> list[int]:
        """The ranks that have written events, in order."""
        numbers = (re.fullmatch(r"rank(\d+)\.jsonl", path.name) for path in self.events().parent.glob("rank*.jsonl"))
        return sorted(int(number[1]) for number in numbers if number)

    def stdout(self) -> Path:
        return self.ranks / "0" / "stdout.log"

    def stderr(self) -> Path:
        return self.ranks / "0" / "stderr.log"

    def attempt(self, number: int) -> Path:
        """The record of an attempt. Its creation decides which process starts it; no file of the attempt is older."""
        return self.attempts / f"{number}.json"

    def reserve(self, rank: int = 0) -> Path:
        """Disk space that a rank reserves from its start, so that it can report its end on a full disk."""
        return self.control / ("reserve" if rank == 0 else f"reserve-rank{rank}")

    def saved_checkpoints(self) -> list[Path]:
        """The folders of its checkpoints, the oldest first; without the best one, which is beside them."""
        found = [path for path in self.checkpoints.glob("step-*") if CHECKPOINT.fullmatch(path.name)]
        return sorted(found, key=lambda path: by_step(path.name))

    @property
    def newest_checkpoint(self) -> Path | None:
        """The folder of the last checkpoint; None if there is none."""
        return next(reversed(self.saved_checkpoints()), None)


def by_step(checkpoint: str) -> tuple[int, str]:
    """Sorts the names of checkpoints by their steps, the oldest first; from 100,000,000 on they have more digits."""
    return len(checkpoint), checkpoint


def refuse_links(run: RunDirectory) -> None:
    """Raise RunError if the folders that a run writes into contain a link, a named pipe or a device.

    A run creates none. Writing or deleting through one that came with another user's run would damage its target. The
    run's folder may itself be reached by a link, and the files beside these folders are replaced, never written into.
    """
    for path, found in contents(run.path):
        if path.relative_to(run.path).parts[0] in _WRITTEN:
            refuse_special(run, path, found.st_mode)


def contents(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What is in a folder, then in those below it, and what lstat says of each, in order, without following links.

    Without what Python compiles: rbp executes none of it. What is missing has nothing in it. Raises RunError for a
    folder that cannot be read, and for folders more than DEEPEST deep in each other.
    """
    folders = [folder]
    for here in folders:  # which grows
        if len(inner := here.relative_to(folder).parts) > DEEPEST:
            raise RunError(f"{folder / inner[0]} has folders more than {DEEPEST} deep in each other: move it away")
        with unreadable_refused(here), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in sorted(path for path in here.iterdir() if path.name != CACHE):
                with contextlib.suppress(FileNotFoundError):  # it has just been removed
                    found = path.lstat()
                    folders += [path] if stat.S_ISDIR(found.st_mode) else []
                    yield path, found


def refuse_special(run: RunDirectory, path: Path, mode: int) -> None:
    """Raise RunError if what is at a path in a run, by its mode, is neither a file nor a folder."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise RunError(f"{run.id}: {path.relative_to(run.path)} is {what}, which no run makes: remove it first")


def new_run_id(preset: str, method: str, now: float | None = None) -> str:
    """An id like `20261124-140501-digits-rate_m-3f2a`: sorts by time and ends in four characters to type."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{stamp}-{name_in_id(preset)}-{method}-{secrets.token_hex(2)}"


def short_id(run_id: str) -> str:
    """The end of an id, which identifies a run: four characters, and the epochs of a fork; a chosen id stays whole."""
    found = _MADE.fullmatch(run_id)
    return found[1] if found else run_id


def is_called(run_id: str, reference: str) -> bool:
    """Whether a reference is this id, or its last four characters or more; `last` is the newest run, and no ending."""
    long_enough = len(reference) >= SHORT_LENGTH and reference != "last"
    return run_id == reference or (long_enough and run_id.endswith(reference))


def name_in_id(name: str) -> str:
    """The name of a preset or a sweep as a part of an id, which may begin with it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "run"


def check_run_id(run_id: str) -> None:
    """Raise RunError for an id that is not a plain folder name, so that no path can leave the runs directory."""
    if not ID.fullmatch(run_id):
        raise RunError(
            f"{run_id!r} cannot be the id of a run: use letters, digits, '.', '_' and '-', at most 120, "
            "beginning with a letter or a digit"
        )


def write_atomic(path: Path, contents: str | bytes, below: Path | None = None) -> None:
    """Write a file that readers see whole or not at all.

    From `below` on, by default the folder of the file, no link is followed.
    """
    with inside.folder(path.parent, below or path.parent) as folder:
        folder.replace(path.name, contents)


def finite(value: Any) -> Any:
    """Replace numbers that JSON cannot represent by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def json_text(value: dict[str, Any], indent: int | None = None) -> str:
    """The object as JSON. What UTF-8 cannot encode, as in a file name of another encoding, is written as it is shown:
    `\\udcff`."""
    text = json.dumps(finite(value), indent=indent, allow_nan=False, ensure_ascii=False)
    return _HALF.sub(lambda half: rf"\\u{ord(half[0]):04x}", text)


def write_json(path: Path, value: dict[str, Any], below: Path | None = None) -> None:
    """Write an object as `write_atomic` does."""
    write_atomic(path, json_text(value, indent=1) + "\n", below)


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty if it is missing, unreadable, too large or not an object."""
    try:
        return checked_object(read_untrusted(path, JSON_LIMIT))
    except (OSError, ValueError):
        return {}


def read_record(kind: type[T], path: Path, otherwise: Other) -> T | Other:
    """The record in a file, to be shown; `otherwise` if it is missing, unreadable or damaged."""
    try:
        return decode(kind, read_untrusted(path, JSON_LIMIT))
    except (OSError, ValueError):
        return otherwise


def load_json(path: Path) -> dict[str, Any]:
    """The object in a file that is about to be changed; empty if it is missing.

    Raises RunError if it cannot be read or is damaged: written again, it would lose what it says.
    """
    with unreadable_refused(path):
        try:
            return checked_object(read_untrusted(path, JSON_LIMIT))
        except FileNotFoundError:
            return {}


@contextlib.contextmanager
def unreadable_refused(path: Path) -> Iterator[None]:
    """Raise RunError where a file cannot be read or is damaged, for what must not take that for empty."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}): correct it, or move it away") from error


def checked_object(content: bytes) -> dict[str, Any]:
    """The object in a JSON text. Raises ValueError if there is none."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value
