"""`rbp report --missing`: the runs that the published tables lack."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rbp_engine.printable import visible
from rbp_tui.cli.output import print_json, print_lines, say

if TYPE_CHECKING:
    from rbp_engine.report.paper import MissingRun


def print_missing(
    runs: Path, runs_dir: Path | None, presets: Sequence[str], *, everything: bool, as_json: bool
) -> None:
    """Print the commands of missing runs: those whose data is here first, the others only if asked for."""
    from rbp_engine.preset import list_presets
    from rbp_engine.report.paper import missing_runs
    from rbp_engine.run.store.store import run_directories
    from rbp_engine.settings.spelling import did_you_mean

    known = [entry.name for entry in list_presets()]
    if unknown := [name for name in presets if name not in known]:
        raise typer.BadParameter(f"no preset is called '{unknown[0]}'.{did_you_mean(unknown[0], known)}")
    missing, troubles = missing_runs(run_directories(runs), presets)
    if as_json:
        print_json([vars(one) | {"command": one.command(runs_dir)} for one in missing])
    else:
        absent = _absent_data(one.data for one in missing)
        to_do = sorted((one for one in missing if one.live is None), key=lambda one: one.data in absent)
        shown = [one for one in to_do if everything or presets or one.data not in absent]
        print_lines(visible("".join(f"{one.command(runs_dir)}\n" for one in shown)))
        for one in missing:
            if one.live is not None:
                say("[dim]under way as {}: {}[/]", one.live, one.command(runs_dir))
        if to_do:
            say("[dim]{}[/]", _to_do_text(to_do, absent, hidden=len(to_do) - len(shown)))
        if not missing and not troubles:
            say("no cell of the paper is empty")
    for trouble in troubles:
        say("[yellow]left out[/] {}", trouble)


def _absent_data(names: Iterable[str]) -> set[str]:
    """Those of the data sets that are not here."""
    from rbp_engine.data.catalog import CATALOG, presence

    return {name for name in set(names) if name in CATALOG and not presence(name).found}


def _to_do_text(to_do: "Sequence[MissingRun]", absent: Collection[str], *, hidden: int) -> str:
    """How many runs are left to train, how many of them lack which data, and how to see what is not shown."""
    without = Counter(one.data for one in to_do if one.data in absent)
    text = f"{run_count(len(to_do))} to train"
    if without:
        names = ", ".join(f"{name} {count}" for name, count in without.most_common())
        text += f", {without.total()} of them without data here: {names} (rbp data list)"
    return f"{text}; --all prints their commands" if hidden else text


def run_count(runs: int) -> str:
    return f"{runs} run{'' if runs == 1 else 's'}"
