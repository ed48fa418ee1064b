"""Arguments that name runs, and a run as JSON."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rbp_engine.errors import UserError
from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli import completion
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.trust import once_trusted

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.store.store import RunRecord
    from rbp_engine.run.trust import Executable

T = TypeVar("T")
Result = TypeVar("Result")


def _argument(
    offers: Callable[..., object], text: str = "Runs (rbp ls shows them), or a query, as status:failed 'age>7d'."
) -> Any:
    """The argument of a command on runs, which a shell completes with `offers`."""
    return typer.Argument(metavar="RUN", help=text, show_default=False, autocompletion=offers)


Run = Annotated[
    str,
    _argument(
        completion.runs, "An id (rbp ls shows them), its beginning or last four characters, a name, 'last', or a query."
    ),
]
Runs = Annotated[list[str], _argument(completion.runs)]
SomeRuns = Annotated[list[str] | None, _argument(completion.runs)]
LiveRuns = Annotated[list[str], _argument(completion.live_runs)]
QueuedRuns = Annotated[list[str], _argument(completion.queued_runs)]
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


def find_network(reference: str, runs_dir: Path | None, *, trust: bool) -> "Executable":
    """The same for what builds the network of the run, once that is trusted. Raises RunError for another program's."""
    from rbp_engine.run.files.summary import refuse_other_program
    from rbp_engine.run.trust import require_code

    run = find(reference, runs_dir)
    refuse_other_program(run, "so that rbp does not have its network")
    return once_trusted(lambda: require_code(run), trust=trust)


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


def on_each(chosen: Sequence[T], action: Callable[[T], Result], *, trust: bool = False) -> tuple[list[Result], int]:
    """What an action gives on each of the chosen runs, once it is trusted, and the exit code.

    No run waits for another: of several, one that refuses says why, and the exit code is 1. A single one raises that.
    """
    results, reasons = [], dict[str, None]()
    for one in chosen:
        try:
            results.append(once_trusted(functools.partial(action, one), trust=trust))
        except UserError as error:
            if len(chosen) == 1:
                raise
            if str(error) not in reasons:
                say("[red]{}[/]", error)
            reasons[str(error)] = None
    return results, 1 if reasons else 0


def for_each(
    chosen: Sequence[T],
    action: Callable[[T], Result],
    *,
    trust: bool = False,
    as_json: bool = False,
    alone: bool = False,
    code: int = 0,
) -> None:
    """The end of a command that does this `on_each`: it prints what that gives as JSON, of one `alone` not in a list.

    Raises Exit if one refuses, or the exit `code` so far is not 0.
    """
    results, refused = on_each(chosen, action, trust=trust)
    if as_json:
        print_json(results[0] if alone else results)
    if refused or code:
        raise typer.Exit(refused or code)


def as_plain(record: "RunRecord") -> dict[str, Any]:
    """The summary with the current status, all tags, the note, and whether it is in the archive, for JSON."""
    notes = record.annotations
    added = {"tags": list(record.tags), "note": notes.note, "archived": notes.archived}
    return record.summary.as_json() | asdict(record.verdict) | added
