"""Alarms as lines of text."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine.printable import LONGEST_TEXT, one_line

if TYPE_CHECKING:
    from rich.text import Text

    from rbp_engine.run.status.history import History
    from rbp_engine.run.status.rules.rule import Alarm

NETWORK = "network"
#: What to do where a rule has nothing to read.
NEEDED = {
    "firing": "needs probes.firing_rates=true",
    "fidelity": "needs probes.gradients=100",
    "health": "needs probes.health=true",
    "curves": "needs a training loss, and a run that is not of an older rbp",
}


def layer_text(alarm: "Alarm") -> str:
    """The layer it is about; the network if it is about no layer. A number alone would not look like a name."""
    numbered = alarm.layer.replace(".", "").isdigit()
    return f"layer {alarm.layer}" if numbered else alarm.layer or NETWORK


def since_text(alarm: "Alarm") -> str:
    """As `epoch 2.2`; the step if it is not known how long an epoch is."""
    return f"step {alarm.step}" if math.isnan(alarm.epoch) else f"epoch {alarm.epoch:.1f}"


def alarm_line(alarm: "Alarm") -> str:
    """What it is, since when, and what to do."""
    return f"{layer_text(alarm)}: {alarm.what} since {since_text(alarm)}: {alarm.knob}"


def alarm_plain(alarm: "Alarm") -> dict[str, Any]:
    """For JSON."""
    return vars(alarm) | {"epoch": None if math.isnan(alarm.epoch) else alarm.epoch}


def alarms_text(found: "Sequence[Alarm]", history: "History") -> "Text":
    """All alarms in full, or that there are none; then what is checked, and what is not and why."""
    from rich.text import Text

    from rbp_engine.run.status.rules.table import RULES, unchecked

    text = Text()
    left_out = unchecked(history)
    if len(left_out) == len(RULES):
        text.append("Nothing could be checked.\n\n", style="yellow")
    elif not found:
        text.append("Nothing to report.\n\n", style="green")
    for alarm in found:
        text.append(f"! {one_line(layer_text(alarm), LONGEST_TEXT)}", style="bold yellow")
        text.append(f"   since {since_text(alarm)}, step {alarm.step}\n", style="dim")
        text.append(f"{alarm.what}\n")
        text.append("cause  ", style="dim").append(f"{alarm.cause}\n")
        text.append("knob   ", style="dim").append(f"{alarm.knob}\n\n")
    standing = {alarm.rule for alarm in found}
    checked = [rule for rule in RULES if rule not in left_out]
    if checked:
        text.append("checked at each sample\n", style="dim")
    for rule in checked:
        wrong = rule.name in standing
        text.append("  ! " if wrong else "  ✓ ", style="yellow" if wrong else "green").append(f"{rule.checks}\n")
    for reads in dict.fromkeys(rule.reads for rule in left_out):
        text.append(f"not checked: {NEEDED[reads]}\n", style="dim")
        for rule in left_out:
            if rule.reads == reads:
                text.append(f"  – {rule.checks}\n", style="dim")
    return text
