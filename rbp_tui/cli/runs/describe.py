"""`rbp show`: one run in full."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbp_tui.cli.output import cell
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import judged
from rbp_tui.text.styled import paragraph, styled

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.files.run_json import RunJson
    from rbp_engine.run.status.rules.rule import Alarm
    from rbp_engine.run.store.store import RunRecord


def describe_run(
    run: "RunDirectory", record: "RunRecord", origin: "RunJson", alarms: "Sequence[Alarm]"
) -> "RenderableType":
    """A table of what is known about a run; what is missing or damaged is said in its place.

    `alarms` are those of a live run, and the findings about one that has ended.
    """
    from rich.table import Table
    from rich.text import Text

    from rbp_engine.run.files.attempts import read_attempts
    from rbp_tui.text.run_text import ATTENTION

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("run", Text(cell(run.id), style="bold"))
    for name, text in _state(record):
        table.add_row(name, cell(text) if isinstance(text, str) else text)
    if record.readable and record.summary.alert:
        table.add_row("alert", Text(cell(record.summary.alert), style=ATTENTION))
    for name, text in (judged(alarm, live=record.verdict.live) for alarm in alarms):
        table.add_row(name, Text(cell(text), style=ATTENTION))
    table.add_row("folder", cell(run.path))
    for name, text in _origin(origin):
        table.add_row(name, cell(text))
    attempts = read_attempts(run)
    for attempt in attempts:
        started = "–" if attempt.t is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.t))
        table.add_row(f"attempt {attempt.attempt}", cell(f"{started}, {attempt.process}"))
    if origin.origin:
        goes_on = f"from step {origin.origin_step} of {origin.origin}, {origin.origin_epochs} → {origin.epochs} epochs"
        table.add_row("goes on", cell(f"{goes_on}: not exactly a run of {origin.epochs} epochs"))
    for attempt in attempts[:-1]:
        if attempt.ended is not None:
            text = f"{attempt.ended.status}: {attempt.ended.reason}; started again"
            table.add_row(f"after attempt {attempt.attempt}", cell(text))
    table.add_row("preset", cell(run.preset_toml))
    return table


def _state(record: "RunRecord") -> "list[tuple[str, str | Text]]":
    from rbp_tui.cli.train.next_steps import next_steps
    from rbp_tui.text.run_text import scores, status_text, what

    summary, verdict = record.summary, record.verdict
    reason = f"  {verdict.reason}" if verdict.reason else ""
    status: tuple[str, str | Text] = ("status", styled("{}{}", status_text(verdict.shown_status), reason))
    cause = [("cause", verdict.cause)] if verdict.cause else []
    if not record.readable:
        return [status]
    steps = next_steps(record.run, summary, verdict) if verdict.resumable else []
    following = [("next", "  ·  ".join(steps))] if steps else []
    speed = f"{fmt.thousands(summary.samples_per_s)} samples/s, {fmt.number(summary.step_ms, 1)} ms a step"
    rows: list[tuple[str, str | Text]] = [
        status,
        *cause,
        *following,
        ("what", ", ".join(what(summary))),
        *([("program", f"{summary.program} trains it, not rbp")] if summary.program else []),
        ("experiment", summary.experiment[:16]),
        (
            "progress",
            f"epoch {summary.epoch} of {summary.epochs or '?'}, step {summary.step} of {summary.steps or '?'}",
        ),
        *scores(summary),
    ]
    if summary.timesteps_needed is not None:
        needed = f"{summary.timesteps_needed} of {summary.timesteps} give an accuracy within 0.5 points of that of all"
        rows.append(("timesteps", needed))
    rows += [("trained", f"{fmt.duration(summary.trained_s)}, {speed}"), ("memory", fmt.size(summary.mem_peak))]
    if summary.name or record.tags:
        rows.append(("name, tags", f"{summary.name} {' '.join(record.tags)}".strip()))
    if record.annotations.note:
        rows.append(("note", paragraph(record.annotations.note)))
    return rows


def _origin(origin: "RunJson") -> list[tuple[str, str]]:
    rows = [("command", origin.command or "–"), ("host", origin.host or "–")]
    if origin.git:
        dirty = ", with uncommitted changes" if origin.git.changed else ""
        rows.append(("commit", f"{origin.git.commit[:12]} ({origin.git.branch}{dirty})"))
    known = origin.packages
    versions = [f"{name} {known[name]}" for name in ("rbp-tui", "torch", "spikingjelly") if name in known]
    rows.append(("versions", ", ".join([f"python {origin.python or '–'}", *versions])))
    return rows
