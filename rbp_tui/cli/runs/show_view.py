"""What `rbp show` prints of a run: all of it, why it has ended, or its layers."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from rbp_engine.run.files.attempts import most_processes, read_attempts
from rbp_engine.run.files.events import Metrics, Probe, RunStart
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.files.run_json import RunJson, read_run_json
from rbp_engine.run.files.summary import refuse_other_program
from rbp_engine.run.history.history import History
from rbp_engine.run.history.history_reader import read_alarms, read_findings, read_history, read_judged
from rbp_engine.run.history.rules.alarm_rules import RULES, alarms, findings, unchecked
from rbp_engine.run.history.rules.rule import Alarm
from rbp_engine.run.status.status import ENDED
from rbp_engine.run.store.store import RunRecord, record
from rbp_tui.cli.output import cell, print_rich, print_styled, say, say_next
from rbp_tui.cli.runs.choice import as_plain
from rbp_tui.cli.train.next_steps import next_steps
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import NEEDED, alarm_plain, judged
from rbp_tui.text.layers_text import layer_tables, layers_plain
from rbp_tui.text.live_text import logged_text
from rbp_tui.text.run_text import ATTENTION, pace, scores, status_text, title, what
from rbp_tui.text.styled import paragraph, styled
from rbp_tui.text.text_table import filled_table


def describe_run(run: RunDirectory, record: RunRecord, origin: RunJson, alarms: Sequence[Alarm]) -> RenderableType:
    """A table of what is known about a run; what is missing or damaged has a note in its place.

    `alarms` are those of a live run, and the findings about one that has ended.
    """
    table = Table.grid(Column(style="dim", no_wrap=True), Column(overflow="fold"), padding=(0, 2))
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
        table.add_row(
            f"attempt {attempt.attempt}", cell(f"{started}, {attempt.process}" if attempt.process.pid else started)
        )
    if origin.origin:
        goes_on = f"from step {origin.origin_step} of {origin.origin}, {origin.origin_epochs} → {origin.epochs} epochs"
        table.add_row("goes on", cell(f"{goes_on}: not exactly a run of {origin.epochs} epochs"))
    for attempt in attempts[:-1]:
        if attempt.ended is not None:
            text = f"{attempt.ended.status}: {attempt.ended.reason}; started again"
            table.add_row(f"after attempt {attempt.attempt}", cell(text))
    table.add_row("preset", cell(run.preset_toml))
    return table


def _state(record: RunRecord) -> list[tuple[str, str | Text]]:
    summary, verdict = record.summary, record.verdict
    reason = f"  {verdict.reason}" if verdict.reason else ""
    status: tuple[str, str | Text] = ("status", styled("{}{}", status_text(verdict.shown_status), reason))
    cause = [("cause", verdict.cause)] if verdict.cause else []
    if not record.readable:
        return [status]
    steps = next_steps(record.run, summary, verdict) if verdict.resumable else []
    following = [("next", "  ·  ".join(steps))] if steps else []
    took = [fmt.duration(summary.trained_s)] if summary.trained_s >= 1 else []
    speed = ", ".join(pace(summary))
    trained = [*took, f"{'' if summary.status in ENDED else 'lately '}{speed}"] if speed else took
    done = (("epoch", summary.epoch, summary.epochs), ("step", summary.step, summary.steps))
    progress = [f"{what} {reached}{f' of {all_}' if all_ else ''}" for what, reached, all_ in done if reached or all_]
    budget = ", its budget" * (0 < summary.steps < summary.epochs * summary.steps_per_epoch)
    logged = logged_text(read_history(record.run, kinds=(RunStart, Metrics, Probe))).plain if summary.program else ""
    rows: list[tuple[str, str | Text]] = [
        status,
        *cause,
        *following,
        ("what", ", ".join(what(summary))),
        *([("program", f"{summary.program} trains it, not rbp")] if summary.program else []),
        ("experiment", summary.experiment[:16]),
        ("progress", ", ".join(progress) + budget),
        ("logged", logged),
        *scores(summary),
    ]
    if summary.timesteps_needed not in (None, summary.timesteps):
        give = "gives" if summary.timesteps_needed == 1 else "give"
        needed = (
            f"{summary.timesteps_needed} of {summary.timesteps} {give} an accuracy within 0.5 points of that of all"
        )
        rows.append(("timesteps", needed))
    several = f" in one of {most} processes" if (most := most_processes(record.run)) > 1 else ""
    peak = f"{fmt.size(summary.mem_peak)} at its peak, compiling included{several}" if summary.mem_peak else ""
    rows += [("trained", ", ".join(trained)), ("memory", peak)]
    if summary.name or record.tags:
        rows.append(("name, tags", f"{summary.name} {' '.join(record.tags)}".strip()))
    if record.annotations.note:
        rows.append(("note", paragraph(record.annotations.note)))
    return [(name, text) for name, text in rows if text]


def _origin(origin: RunJson) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("command", origin.command), ("host", origin.host)]
    if origin.git:
        dirty = ", with uncommitted changes" if origin.git.changed else ""
        rows.append(("commit", f"{origin.git.commit[:12]} ({origin.git.branch}{dirty})"))
    known = ({"python": origin.python} if origin.python else {}) | origin.packages
    versions = [f"{name} {known[name]}" for name in ("python", "rbp-tui", "torch", "spikingjelly") if name in known]
    return [(name, text) for name, text in (*rows, ("versions", ", ".join(versions))) if text]


def everything(run: RunDirectory, *, as_json: bool) -> dict[str, Any]:
    """Print all that is known about a run, or return it for JSON."""
    found = record(run)
    alarms, ended = read_alarms(run), () if found.verdict.live else read_findings(run)
    if not as_json:
        print_rich(describe_run(run, found, read_run_json(run), alarms if found.verdict.live else ended))
        return {}
    return {
        "summary": as_plain(found) if found.readable else None,
        "run": read_json(run.run_json),
        "attempts": [asdict(attempt) for attempt in read_attempts(run)],
        "path": str(run.path),
        "alarms": [alarm_plain(alarm) for alarm in alarms],
        "findings": [alarm_plain(alarm) for alarm in ended],
    }


def layers(run: RunDirectory, epoch: float | None, *, as_json: bool) -> dict[str, Any]:
    """Print the samples of its layers nearest to an epoch, by default the newest, or return them for JSON."""
    history = read_history(run)
    if as_json:
        return {"run": run.id} | layers_plain(history, epoch)
    found = layer_tables(history, epoch, record(run).summary.method)
    if not found:
        refuse_other_program(run, "so that rbp has not looked at its layers")
        waits = record(run).verdict.status in ("queued", "starting")
        why = "it has not begun" if waits else "set probes.firing_rates=true, and train"
        say("{} has no samples of its layers: {}", run.id, why)
    for number, (where, rows) in enumerate(found):
        if number:
            print_rich("")
        print_rich(styled("[bold]{}[/] [dim]{}[/]", rows.title, where))
        print_rich(filled_table(rows.columns))
    return {}


def why(run: RunDirectory, *, as_json: bool) -> dict[str, Any]:
    """Print how it ended and what the rules find, or return that for JSON."""
    found, history = record(run), read_judged(run)
    verdict = found.verdict
    faults = alarms(history) if verdict.live else findings(history)
    if not as_json:
        _print_why(found, history, faults)
    return {
        "id": run.id,
        "status": verdict.status,
        "reason": verdict.reason,
        "cause": verdict.cause,
        "findings": [alarm_plain(alarm) for alarm in faults],
        "unchecked": [rule.name for rule in unchecked(history)],
    }


def _print_why(record: RunRecord, history: History, faults: Sequence[Alarm]) -> None:
    verdict = record.verdict
    named = title(record.summary) if record.readable else record.run.id
    print_styled("{} {}", status_text(verdict.shown_status), named)
    if verdict.reason:
        print_styled("  {}", verdict.reason)
    if verdict.resumable and record.readable:
        say_next(next_steps(record.run, record.summary, verdict), stderr=False)
    for alarm in faults:
        print_styled("  [yellow]{}: {}[/]", *judged(alarm, live=verdict.live))
        print_styled("  [dim]usually because: {}[/]", alarm.cause)
    rules = [rule for rule in RULES if not (rule.at_end and verdict.live)]
    left_out = [rule for rule in unchecked(history) if rule in rules]
    checked = [rule.checks for rule in rules if rule not in left_out]
    if not faults and checked:
        print_styled("  nothing to report; checked: {}", ", ".join(checked))
    if left_out:
        given = ("evaluations",) if record.summary.program else NEEDED  # what another program can log
        counts = Counter(NEEDED[rule.reads] if rule.reads in given else "a run of rbp" for rule in left_out)
        needs = ", ".join(f"{count} need{'s' if count == 1 else ''} {what}" for what, count in counts.items())
        print_styled("  [dim]not checked: {} of {} rules; {}[/]", len(left_out), len(rules), needs)
