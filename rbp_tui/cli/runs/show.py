"""`rbp show` and `rbp compare`: what is known of runs, and how they differ."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.options import JUDGE, LOOK, Json, RunsDir
from rbp_tui.cli.output import cell, console, print_json, print_rich, print_styled, say, say_next
from rbp_tui.cli.runs.choice import Runs, as_plain, find, one_or_several, select
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import judged
from rbp_tui.text.styled import paragraph, styled

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.files.run_json import RunJson
    from rbp_engine.run.status.history import History
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


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=LOOK,
        epilog="Examples:  rbp show last   ·   rbp show age<1d --why   ·   rbp show 3f2a --layers --epoch 10",
    )(show)
    app.command(
        rich_help_panel=JUDGE,
        epilog="Examples:  rbp compare 3f2a 9c01   ·   rbp compare data=digits T=4 --baseline 9c01",
    )(compare)


def show(
    runs: Runs,
    why: Annotated[
        bool, typer.Option("--why", help="How it has ended and why, what its events say about that, the next step.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="What probes have measured of each layer: firing rates, health, gradients.")
    ] = False,
    epoch: Annotated[
        float | None,
        typer.Option(metavar="E", help="With --layers: the samples nearest to this epoch.", show_default=False),
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Everything about a run: status and why, progress, last and best, alarms, findings, attempts, its origin.

    Rules that find faults, and their limits, are in docs/inside-the-network.md.
    """
    if why and layers:
        raise typer.BadParameter("--why and --layers are two views: leave one of them out")
    if epoch is not None and not layers:
        raise typer.BadParameter("--epoch needs --layers: it chooses among their samples")
    shown = []
    for number, run in enumerate(select(runs, runs_dir)):
        if number and not as_json:
            print_rich("")
        if layers:
            shown.append(_layers(run, epoch, as_json=as_json))
        else:
            shown.append(_why(run, as_json=as_json) if why else _everything(run, as_json=as_json))
    if as_json:
        print_json(shown if why else one_or_several(shown))


def _everything(run: "RunDirectory", *, as_json: bool) -> dict[str, Any]:
    from rbp_engine.run.files.attempts import read_attempts
    from rbp_engine.run.files.layout import read_json
    from rbp_engine.run.files.run_json import read_run_json
    from rbp_engine.run.status.history_reader import read_alarms, read_findings
    from rbp_engine.run.store.store import record
    from rbp_tui.text.alarm_text import alarm_plain

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


def _layers(run: "RunDirectory", epoch: float | None, *, as_json: bool) -> dict[str, Any]:
    from rbp_engine.run.files.summary import refuse_other_program
    from rbp_engine.run.status.history_reader import read_history
    from rbp_tui.text.layers_text import layer_samples, layers_plain, layers_table

    found = layer_samples(read_history(run), epoch)
    if as_json:
        return {"run": run.id} | layers_plain(found)
    if not found:
        refuse_other_program(run, "so that rbp has not looked at its layers")
        say("{} has no samples of its layers: set probes.firing_rates=true, and train", run.id)
    for number, samples in enumerate(found):
        if number:
            print_rich("")
        place = samples.step, f"{samples.epoch:.2f}"
        print_rich(styled("[bold]{}[/] [dim]at step {}, epoch {}[/]", samples.title, *place))
        print_rich(layers_table(samples))
    return {}


def _why(run: "RunDirectory", *, as_json: bool) -> dict[str, Any]:
    from rbp_engine.run.status.history_reader import read_judged
    from rbp_engine.run.status.rules.table import alarms, findings, unchecked
    from rbp_engine.run.store.store import record
    from rbp_tui.text.alarm_text import alarm_plain

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


def _print_why(record: "RunRecord", history: "History", faults: "Sequence[Alarm]") -> None:
    from rbp_engine.run.status.rules.table import RULES, unchecked
    from rbp_tui.cli.train.next_steps import next_steps
    from rbp_tui.text.alarm_text import NEEDED
    from rbp_tui.text.run_text import status_text, title

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
        counts = Counter(NEEDED[rule.reads] for rule in left_out)
        needs = ", ".join(f"{count} need{'s' if count == 1 else ''} {what}" for what, count in counts.items())
        print_styled("  [dim]not checked: {} of {} rules; {}[/]", len(left_out), len(rules), needs)


def compare(
    runs: Runs,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Whose experiment the others are measured against; else the first RUN's.",
            autocompletion=completion.runs,
        ),
    ] = None,
    each_run: Annotated[bool, typer.Option("--each-run", help="A line for each run, not for each experiment.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Runs beside each other by experiment: last and best accuracy, speed, memory, and what differs.

    Accuracies are mean ± standard deviation over the seeds. Δ is the difference to the baseline, paired by seed: its
    mean over the seeds that both have ± the 95 % confidence interval, in percentage points.

    A second table has the accuracy at equal cost: after as many epochs, in the same time, in the same memory.
    """
    from rbp_engine.report.compare import compare as compared
    from rbp_engine.report.equal_cost import equal_cost, read_top1
    from rbp_tui.text.comparison_text import comparison_plain, comparison_text
    from rbp_tui.text.equal_cost_text import equal_cost_plain, equal_cost_text

    found = compared(
        select(runs, runs_dir, archived=True), find(baseline, runs_dir) if baseline else None, each_run=each_run
    )
    directories = {one.run.id: one.run for group in found.groups for one in group.runs}
    curves = {run_id: read_top1(run) for run_id, run in directories.items()} if len(found.groups) > 1 else {}
    equal = equal_cost(found, curves.get)
    if as_json:
        print_json(comparison_plain(found) | {"equal_cost": equal_cost_plain(equal) if equal.seconds else None})
        return
    if found.groups:
        say("[dim]◆ baseline:[/] {}", found.baseline_title)
        print_rich(comparison_text(found, console().width).whole)
    if equal.seconds:
        print_rich(styled("\n[bold]at equal cost[/]"))
        print_rich(equal_cost_text(found, equal, console().width).whole)
    for run in found.excluded:
        say("[dim]left out {}:[/] {}", run.id, run.reason)
