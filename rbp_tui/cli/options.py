"""Options that several commands share."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rbp_engine.printable import one_line
from rbp_tui.cli.output import say

if TYPE_CHECKING:
    from rbp_engine.run.files.run_json import Resources
    from rbp_engine.run.request import LaunchOptions


def _of_root(context: typer.Context, value: Path | None) -> Path | None:
    """`rbp --runs-dir DIR COMMAND` is `rbp COMMAND --runs-dir DIR`."""
    return context.find_root().params.get("runs_dir") if value is None else value


def _at_once(context: typer.Context, detach: bool) -> bool:
    """Say what takes a while: on a machine that has just been started, everything is read from its disk first."""
    if detach and not context.resilient_parsing:
        say("[dim]preparing it; the first time, this may take a minute[/]")
    return detach


def _fraction(points: float | None) -> float | None:
    """Percentage points as a fraction."""
    if points is not None and not 0 < points < 100:
        raise typer.BadParameter(f"expected percentage points above 0, as 1 or 0.5, got {points:g}")
    return None if points is None else points / 100


def _runs_dir(*, hidden: bool) -> Any:
    return typer.Option(
        "--runs-dir",
        metavar="DIR",
        help="Where runs are kept (else $RBP_RUNS, machine.toml, ./runs).",
        show_default=False,
        callback=_of_root,
        hidden=hidden,
    )


#: An option of rbp itself, which may also stand behind a command.
RootRunsDir = Annotated[Path | None, _runs_dir(hidden=False)]
RunsDir = Annotated[Path | None, _runs_dir(hidden=True)]
#: The panel of options that only --help-all explains.
MORE = "More"
#: Of `rbp --help`, the groups of commands.
TRAIN, LOOK, JUDGE, KEEP, SET_UP = "Train", "Look", "Judge", "Keep", "Set up"
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Weights = Annotated[
    Literal["last", "best"], typer.Option("--weights", help="Weights of the last or of the best epoch.")
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        metavar="POINTS",
        help="Judge differences: equivalent within so many points, different, inconclusive.",
        show_default=False,
        callback=_fraction,
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return once it has started; print its id.", callback=_at_once)]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="1,2,3", help="One run per seed, each on its own device.", show_default=False),
]
Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="auto|none|0,1",
        help="Wait for a free device: any card, a CPU slot, or one of these cards, as nvidia-smi numbers them.",
        show_default=False,
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        "--retries",
        metavar="N",
        min=0,
        rich_help_panel=MORE,
        help="Start again up to N times if the machine or the network is at fault.",
        show_default=False,
    ),
]
Nproc = Annotated[
    int | None,
    typer.Option("--nproc", metavar="N", min=1, help="Processes per node; they share every batch.", show_default=False),
]
Nnodes = Annotated[
    int | None,
    typer.Option(
        "--nnodes",
        metavar="N",
        min=1,
        rich_help_panel=MORE,
        help="Nodes; give the same command on each.",
        show_default=False,
    ),
]
Rdzv = Annotated[
    str | None,
    typer.Option(
        "--rdzv",
        metavar="HOST:PORT",
        rich_help_panel=MORE,
        help="Where the nodes meet: one of them, and a free port.",
        show_default=False,
    ),
]
Inexact = Annotated[
    bool,
    typer.Option(
        "--inexact",
        rich_help_panel=MORE,
        help="Resume with another number of processes; the result is not exactly the same.",
    ),
]
FromScratch = Annotated[
    bool,
    typer.Option("--from-scratch", rich_help_panel=MORE, help="Start over if its checkpoints are lost or damaged."),
]


def refuse_others(context: typer.Context, option: str, *allowed: str) -> None:
    """Raise BadParameter for what was typed beside an option that makes it meaningless; `allowed` are parameters."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        typed = source is not None and source.name == "COMMANDLINE"
        if typed and option not in parameter.opts and name not in allowed:
            raise typer.BadParameter(f"{option} leaves {parameter.opts[-1]} without effect: leave one of them out")


def given_options(
    *,
    runs_dir: Path | None = None,
    gpus: str | None = None,
    retries: int | None = None,
    nproc: int | None = None,
    nnodes: int | None = None,
    rdzv: str | None = None,
    inexact: bool = False,
    from_scratch: bool = False,
    meet: str = "",
) -> "LaunchOptions":
    """What the options of a command say about its runs. Raises BadParameter.

    Several nodes meet at `meet`, if that is known without `rdzv`.
    """
    from rbp_engine.run.request import LaunchOptions

    resources = _given_resources(nproc, nnodes, rdzv, meet)
    return LaunchOptions(runs_dir, resources, gpus, retries, inexact, from_scratch)


def _given_resources(nproc: int | None, nnodes: int | None, rdzv: str | None, meet: str) -> "Resources | None":
    """The resources that the options request; None if they request none. Raises BadParameter."""
    from rbp_engine.run.files.run_json import Resources

    if nproc is None and nnodes is None and rdzv is None:
        return None
    nodes = nnodes or 1
    if nodes > 1 and rdzv is None and not meet:
        raise typer.BadParameter("--nnodes needs --rdzv HOST:PORT, where the nodes meet")
    if nodes == 1 and rdzv is not None:
        raise typer.BadParameter("--rdzv is for several nodes: say how many with --nnodes")
    if rdzv is not None and re.fullmatch(r"[^:\s]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}", rdzv) is None:
        raise typer.BadParameter(f"--rdzv {rdzv}: expected HOST:PORT, as node1:29400")
    return Resources(processes=nproc or 1, nodes=nodes, rendezvous=one_line(rdzv or (meet if nodes > 1 else "")))
