"""`rbp runs why`: how runs have ended, what their events say about that, and the next step."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import print_json, print_styled
from rbp_tui.cli.runs.choice import Runs, select

if TYPE_CHECKING:
    from rbp_engine.run.status.history import History
    from rbp_engine.run.status.rules.rule import Alarm
    from rbp_engine.run.store.store import RunRecord


def why(runs: Runs, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """How runs have ended and why, what their events say about it, and the next step.

    Of a run that is live: its alarms. Which rules there are, and their limits, is in docs/inside-the-network.md.
    """
    from rbp_engine.run.status.history_reader import read_judged
    from rbp_engine.run.status.rules.table import alarms, findings
    from rbp_engine.run.store.store import record

    shown = []
    for number, directory in enumerate(select(runs, runs_dir)):
        found, history = record(directory), read_judged(directory)
        judged = alarms(history) if found.verdict.live else findings(history)
        if as_json:
            shown.append(_plain(found, history, judged))
            continue
        if number:
            print_styled("")
        _print(found, history, judged)
    if as_json:
        print_json(shown)


def _print(record: "RunRecord", history: "History", judged: "tuple[Alarm, ...]") -> None:
    from rbp_engine.run.status.rules.table import RULES, unchecked
    from rbp_tui.cli.train.next_steps import next_steps
    from rbp_tui.text.alarm_text import NEEDED, finding_line
    from rbp_tui.text.run_text import status_text, title

    verdict = record.verdict
    named = title(record.summary) if record.readable else record.run.id
    print_styled("{} {}", status_text(verdict.shown_status), named)
    if verdict.reason:
        print_styled("  {}", verdict.reason)
    if verdict.resumable and record.readable:
        print_styled("  next: {}", "  ·  ".join(next_steps(record.run, record.summary, verdict)))
    for alarm in judged:
        print_styled("  [yellow]{}[/]", finding_line(alarm))
        print_styled("  [dim]usually because: {}[/]", alarm.cause)
    rules = [rule for rule in RULES if not (rule.at_end and verdict.live)]
    left_out = [rule for rule in unchecked(history) if rule in rules]
    checked = [rule.checks for rule in rules if rule not in left_out]
    if not judged and checked:
        print_styled("  nothing to report; checked: {}", ", ".join(checked))
    if left_out:
        counts = Counter(NEEDED[rule.reads] for rule in left_out)
        needs = ", ".join(f"{count} need{'s' if count == 1 else ''} {what}" for what, count in counts.items())
        print_styled("  [dim]not checked: {} of {} rules; {}[/]", len(left_out), len(rules), needs)


def _plain(record: "RunRecord", history: "History", judged: "tuple[Alarm, ...]") -> dict[str, Any]:
    from rbp_engine.run.status.rules.table import unchecked
    from rbp_tui.text.alarm_text import alarm_plain

    verdict = record.verdict
    return {
        "id": record.run.id,
        "status": verdict.status,
        "reason": verdict.reason,
        "cause": verdict.cause,
        "findings": [alarm_plain(alarm) for alarm in judged],
        "unchecked": [rule.name for rule in unchecked(history)],
    }
