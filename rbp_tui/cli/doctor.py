"""`rbp doctor`: check this machine."""

import sys
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

import typer

from rbp_tui.cli.options import SET_UP, Json, RunsDir
from rbp_tui.cli.output import console, print_json, print_rich, say
from rbp_tui.text.styled import paragraph, styled

if TYPE_CHECKING:
    from rbp_engine.health import Finding

SIGNS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "red")}


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=SET_UP, epilog="Example:  rbp doctor --json | jq '.[] | select(.status != \"ok\")'")(
        doctor
    )


def doctor(
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Check what prevents or slows training on this machine, and say what to do.

    Exit code 1: training does not work here; notes do not prevent it.
    """
    from rbp_engine.health import examine

    findings = []
    for finding in chain(examine(runs_dir), [terminal()]):
        findings.append(finding)
        if not as_json:
            _print_finding(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    problems = [finding.name for finding in findings if finding.status == "problem"]
    if problems:
        say("[red]training does not work here yet:[/] {}", ", ".join(problems))
    raise typer.Exit(1 if problems else 0)


def terminal() -> "Finding":
    """Can the dashboard be shown here?"""
    from rbp_engine.health import Finding

    encoding = sys.stdout.encoding or "unknown"
    if encoding.lower().replace("-", "") != "utf8":
        remedy = "export LC_ALL=C.UTF-8, for signs and curves"
        return Finding("terminal", "note", f"its encoding is {encoding}", remedy)
    out = console()
    if not sys.stdout.isatty():
        return Finding("terminal", "ok", f"stdout is not one; {encoding}")
    colours = {None: "no colours", "standard": "16 colours", "256": "256 colours", "truecolor": "16 million colours"}
    text = f"{out.width}×{out.height}, {colours.get(out.color_system, out.color_system)}, {encoding}"
    if out.width < 80 or out.height < 24:
        return Finding("terminal", "note", text, "make it 80×24 or larger")
    if out.color_system is None:
        return Finding("terminal", "note", text, "set TERM to what your terminal is, and unset NO_COLOR")
    return Finding("terminal", "ok", text)


def _print_finding(finding: "Finding") -> None:
    from rich.table import Column, Table
    from rich.text import Text

    row = Table.grid(Column(width=1), Column(width=13, no_wrap=True), Column(overflow="fold"), padding=(0, 1))
    text = paragraph(finding.text)
    if finding.remedy:
        text.append_text(styled("\n[bold]try:[/] {}", paragraph(finding.remedy)))
    row.add_row(Text(*SIGNS[finding.status]), finding.name, text)
    print_rich(row)
