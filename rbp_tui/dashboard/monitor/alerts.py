"""What rules say of a run, its alerts and its checkpoints, the newest first."""

import time
from collections.abc import Collection, Sequence

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.files.events import AlertRaised, CheckpointSaved, ErrorRaised, Event, WarningRaised
from rbp_engine.run.history.history import History
from rbp_engine.run.history.rules.rule import Alarm
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import judged

ALERTS_SHOWN = 50


def alerts_beside(history: History, why: str) -> list[Event]:
    """The alerts that say more than `why`, which the head shows as the reason of the run's end."""
    return [event for event in history.alerts if _message(event) not in why]


def alert_text(alerts: Sequence[Event], alarms: Sequence[Alarm] = ()) -> Text:
    """The newest alert, and how many came before it; empty without any.

    What a rule says comes before an alert: it tells of now. The first may be the cause of the others.
    """
    if alarms:
        others = f"   ({len(alarms) - 1} more: rbp show RUN --why)" if len(alarms) > 1 else ""
        return Text.assemble((f" ! {one_line(judged(alarms[0])[1])}", "yellow"), (others, "dim"))
    if not alerts:
        return Text()
    before = f"   ({len(alerts) - 1} before it)" if len(alerts) > 1 else ""
    return Text.assemble((f" ! {_alert(alerts[-1])}", "yellow"), (before, "dim"))


def events_text(history: History, alerts: Sequence[Event], kept: Collection[str], alarms: Sequence[Alarm] = ()) -> Text:
    """What rules say, the alerts, then the checkpoints that are `kept`, by the names of their folders.

    Older checkpoints are gone. Of those saved as best only the newest still is, and `best/` keeps it.
    """
    text = Text()
    for alarm in alarms:
        label, said = judged(alarm)
        text.append(f"{label}\n", style="dim").append(f"{one_line(said)}\n", style="yellow")
        text.append(f"usually because: {alarm.cause}\n", style="dim")
    if alerts:
        text.append("alerts\n", style="dim")
        for event in reversed(alerts[-ALERTS_SHOWN:]):
            text.append(f"{_alert(event)}\n", style="red" if isinstance(event.body, ErrorRaised) else "yellow")
    text.append("checkpoints\n", style="dim")
    saved = [(event, event.body) for event in reversed(history.checkpoints) if isinstance(event.body, CheckpointSaved)]
    best = next((body for _, body in saved if body.best), None) if "best" in kept else None
    there = [(event, body) for event, body in saved if body.name in kept or body is best]
    for event, body in there:
        took = f"  {fmt.number(body.save_ms, 0)} ms" if body.save_ms is not None else ""
        text.append(f"{_clock(event)} {one_line(body.name)}  {fmt.size(body.size)}{took}")
        text.append("  best\n" if body is best else "\n", style="green")
    if not there:
        text.append("none\n" if not saved else "none left\n", style="dim")
    return text


def _alert(event: Event) -> str:
    rank = f" rank {event.rank}:" if event.rank else ""
    return f"{_clock(event)}{rank} {_message(event)}"


def _message(event: Event) -> str:
    body = event.body
    return str(one_line(body.message)) if isinstance(body, (WarningRaised, AlertRaised, ErrorRaised)) else ""


def _clock(event: Event) -> str:
    return time.strftime("%H:%M:%S", time.localtime(event.t))
