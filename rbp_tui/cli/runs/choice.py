"""Arguments that name runs, and a run as JSON."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_tui.cli import completion

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.store.store import RunRecord


def _one(offers: Callable[..., object]) -> Any:
    """The argument of a command on one run, which a shell completes with `offers`."""
    return typer.Argument(
        metavar="RUN",
        help="An id (rbp ls shows them), a unique prefix, its last four characters, a name, or 'last'.",
        show_default=False,
        autocompletion=offers,
    )


def _several(offers: Callable[..., object]) -> Any:
    """The argument of a command on several runs."""
    return typer.Argument(
        metavar="RUN",
        help="Runs (rbp ls shows them), or queries as 'status:failed age>7d' and @NAME.",
        show_default=False,
        autocompletion=offers,
    )


Run = Annotated[str, _one(completion.one_run)]
TrainedRun = Annotated[str, _one(completion.trained_runs)]
LiveRun = Annotated[str, _one(completion.live_runs)]
ResumableRun = Annotated[str, _one(completion.resumable_runs)]
Runs = Annotated[list[str], _several(completion.runs_or_query)]
SomeRuns = Annotated[list[str] | None, _several(completion.runs_or_query)]
ArchivedRuns = Annotated[list[str], _several(completion.archived_runs)]
ResumableRuns = Annotated[list[str], _several(completion.resumable_runs)]
QueuedRuns = Annotated[list[str], _several(completion.queued_runs)]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def find(reference: str, runs_dir: Path | None) -> "RunDirectory":
    """The run that a reference names."""
    from rbp_engine.run.store.store import find_run
    from rbp_engine.settings.machine import runs_directory

    return find_run(runs_directory(runs_dir), reference)


def weights_of(reference: str, runs_dir: Path | None) -> Path:
    """The file or folder with weights that a path or a reference to a run names."""
    path = Path(reference)
    if path.exists() or "/" in reference or path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        return path.absolute()
    return find(reference, runs_dir).path.absolute()


def select(words: list[str], runs_dir: Path | None, *, archived: bool = False) -> "list[RunDirectory]":
    """All runs that match the references and queries; `archived`: those in the archive, too."""
    from rbp_engine.run.store.selection import select_runs
    from rbp_engine.settings.machine import runs_directory

    return select_runs(runs_directory(runs_dir), words, archived=archived)


def as_plain(record: "RunRecord") -> dict[str, Any]:
    """The summary with the current status, all tags, the note, and whether it is in the archive, for JSON."""
    notes = record.annotations
    added = {"tags": list(record.tags), "note": notes.note, "archived": notes.archived}
    return record.summary.as_json() | asdict(record.verdict) | added
