"""Arguments that name runs, and a run as JSON."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli import completion

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.store.store import RunRecord


def _one(offers: Callable[..., object]) -> Any:
    """The argument of a command on one run, which a shell completes with `offers`."""
    return typer.Argument(
        metavar="RUN",
        help="An id (rbp ls shows them), its beginning or last four characters, a name, 'last', or a query.",
        show_default=False,
        autocompletion=offers,
    )


def _several(offers: Callable[..., object]) -> Any:
    """The argument of a command on several runs."""
    return typer.Argument(
        metavar="RUN",
        help="Runs (rbp ls shows them), or a query, as status:failed 'age>7d'.",
        show_default=False,
        autocompletion=offers,
    )


Run = Annotated[str, _one(completion.runs)]
Runs = Annotated[list[str], _several(completion.runs)]
SomeRuns = Annotated[list[str] | None, _several(completion.runs)]
LiveRuns = Annotated[list[str], _several(completion.live_runs)]
QueuedRuns = Annotated[list[str], _several(completion.queued_runs)]
Query = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help="Which runs: acc>0.9 T=4 status:running method:rate_m tag:x -tag:y; with > or spaces, quoted.",
        show_default=False,
    ),
]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def find(reference: str, runs_dir: Path | None) -> "RunDirectory":
    """The only run that a reference names, or that a query fits. Raises RunError if there are several."""
    from rbp_engine.run.errors import RunError

    found = select([reference], runs_dir, archived=True)
    if len(found) > 1:
        raise RunError(f"{reference!r} fits {len(found)} runs: name one")
    return found[0]


def weights_of(reference: str, runs_dir: Path | None) -> Path:
    """The file or folder with weights that a path or a reference to a run names."""
    path = Path(reference)
    if path.exists() or "/" in reference or path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        return path.absolute()
    return find(reference, runs_dir).path.absolute()


def select(words: list[str], runs_dir: Path | None, *, archived: bool = False) -> "list[RunDirectory]":
    """All runs that match the references and queries; `archived`: those in the archive, too."""
    from rbp_engine.run.store.query import select_runs

    return select_runs(runs_directory(runs_dir), words, archived=archived)


def one_or_several(found: list[Any]) -> Any:
    """What a command prints as JSON of the runs that it was given: of one run the object itself, else a list."""
    return found[0] if len(found) == 1 else found


def as_plain(record: "RunRecord") -> dict[str, Any]:
    """The summary with the current status, all tags, the note, and whether it is in the archive, for JSON."""
    notes = record.annotations
    added = {"tags": list(record.tags), "note": notes.note, "archived": notes.archived}
    return record.summary.as_json() | asdict(record.verdict) | added
