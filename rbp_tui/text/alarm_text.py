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
#: What a rule needs that has nothing to read.
NEEDED = {
    "firing": "probes.firing_rates=true",
    "fidelity": "probes.gradients=100",
    "health": "probes.health=true",
    "curves": "a training loss",
    "evaluations": "an evaluation after an epoch",
    "timesteps": "an evaluation, and more than one timestep",
    "times": "train.log_every steps",
    "memory": "two seconds of training",
    "ranks": "several processes",
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


def finding_line(alarm: "Alarm") -> str:
    """What a rule says of a run that has ended, and what to do; of an alarm, since when."""
    from rbp_engine.run.status.rules.table import RULES

    at_end = any(rule.at_end for rule in RULES if rule.name == alarm.rule)
    return f"{alarm.what}: {alarm.knob}" if at_end else alarm_line(alarm)


def alarm_plain(alarm: "Alarm") -> dict[str, Any]:
    """For JSON."""
    return vars(alarm) | {"epoch": None if math.isnan(alarm.epoch) else alarm.epoch}


def alarms_text(found: "Sequence[Alarm]", history: "History") -> "Text":
    """All alarms in full, or that there are none; then what is checked, and what is not and why."""
    from rich.text import Text

    from rbp_engine.run.status.rules.table import RULES, unchecked

    text = Text()
    rules = [rule for rule in RULES if not rule.at_end]
    left_out = [rule for rule in unchecked(history) if rule in rules]
    if len(left_out) == len(rules):
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
    checked = [rule for rule in rules if rule not in left_out]
    if checked:
        text.append("checked at each sample\n", style="dim")
    for rule in checked:
        wrong = rule.name in standing
        text.append("  ! " if wrong else "  ✓ ", style="yellow" if wrong else "green").append(f"{rule.checks}\n")
    for reads in dict.fromkeys(rule.reads for rule in left_out):
        text.append(f"not checked: needs {NEEDED[reads]}\n", style="dim")
        for rule in left_out:
            if rule.reads == reads:
                text.append(f"  – {rule.checks}\n", style="dim")
    return text
