"""`rbp runs pack` and `rbp runs unpack`: a run as one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.runs.choice import Runs, for_each, select
from rbp_tui.cli.trust import Trust, once_trusted
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.pack.archive import Packed


def pack(
    runs: Runs,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="A file that ends in .zip, or a folder (else ./ID.zip).",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Literal["all", "best", "last", "none"],
        typer.Option(help="Which checkpoints go into it; without the last, it cannot be resumed."),
    ] = "all",
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Pack runs that have ended, each into one zip file.

    It holds all that the run's folder does: also the command, the host's name, the diff of your repository and your
    code.
    """  # fmt: skip
    from rbp_engine.run.pack.packing import pack as write

    directories = select(runs, runs_dir)
    into = output if output is not None and (output.suffix != ".zip" or output.is_dir()) else None
    if len(directories) > 1 and output is not None and into is None:
        raise typer.BadParameter(f"-o {output} is one file, and there are {len(directories)} runs: name a folder")

    def write_one(directory: "RunDirectory") -> dict[str, Any]:
        file = output if output is not None and into is None else (into or Path()) / f"{directory.id}.zip"
        made = write(directory, file, weights)
        size = file.stat().st_size
        if not as_json:
            say("packed {}: {} files, {}: {}", directory.id, made.files, fmt.size(size), file)
        return _plain(directory, made) | {"weights": weights, "file": str(file), "size": size}

    for_each(directories, write_one, as_json=as_json)


def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What rbp runs pack has written.", show_default=False)],
    run_id: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="Another id than its own.", show_default=False)
    ] = None,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Make a run of a packed one. All of it is checked first; nothing of it is executed.

    With --trust its code may be executed later; without, it is asked for when it is needed.
    """
    from rbp_engine.run import trust as trusted
    from rbp_engine.run.files.run_json import Resources
    from rbp_engine.run.pack.packing import unpack as make

    directory, packed = once_trusted(lambda: make(file, runs_directory(runs_dir), run_id), trust=trust)
    if trust:
        trusted.remember(directory, Resources())
    if as_json:
        print_json(_plain(directory, packed) | {"path": str(directory.path)})
        return
    say("unpacked {}: {} files, {}", directory.id, packed.files, fmt.size(packed.size))
    try:
        trusted.require_code(directory)
    except trusted.Untrusted as untrusted:
        say("[dim]{}; --trust allows it[/]", untrusted.why)


def _plain(directory: "RunDirectory", packed: "Packed") -> dict[str, Any]:
    return {"id": directory.id, "files": packed.files, "bytes": packed.size}
