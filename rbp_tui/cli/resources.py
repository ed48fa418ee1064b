"""Options that say how many processes a run takes, on how many nodes."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rbp_engine.run.files.resources import Resources

Nproc = Annotated[
    int | None,
    typer.Option(
        "--nproc", metavar="N", min=1, help="Processes, on each node; they share every batch.", show_default=False
    ),
]
Nnodes = Annotated[
    int | None,
    typer.Option("--nnodes", metavar="N", min=1, help="Nodes; give the same command on each.", show_default=False),
]
Rdzv = Annotated[
    str | None,
    typer.Option(
        "--rdzv", metavar="HOST:PORT", help="Where the nodes meet: one of them, a free port.", show_default=False
    ),
]
Inexact = Annotated[
    bool, typer.Option("--inexact", help="Go on with another number of processes than has saved; not exactly the same.")
]


def given_resources(nproc: int | None, nnodes: int | None, rdzv: str | None) -> "Resources | None":
    """What the options ask for; None where they ask for nothing. Raises BadParameter."""
    from rbp_engine.run.files.resources import Resources

    if nproc is None and nnodes is None and rdzv is None:
        return None
    nodes = nnodes or 1
    if nodes > 1 and rdzv is None:
        raise typer.BadParameter("--nnodes needs --rdzv HOST:PORT, where the nodes meet")
    if nodes == 1 and rdzv is not None:
        raise typer.BadParameter("--rdzv is for several nodes: say how many with --nnodes")
    if rdzv is not None and re.fullmatch(r"[^:\s]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}", rdzv) is None:
        raise typer.BadParameter(f"--rdzv {rdzv}: expected HOST:PORT, as node1:29400")
    return Resources(processes=nproc or 1, nodes=nodes, rendezvous=rdzv or "")
