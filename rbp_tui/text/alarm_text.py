"""Alarms as lines of text."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbp_engine.run.history.rules.rule import Alarm

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
    return f"layer {alarm.layer}" if alarm.layer.replace(".", "").isdigit() else alarm.layer or NETWORK


def alarm_line(alarm: "Alarm") -> str:
    """What it is, since when, and what to do. It is a step where it is not known how long an epoch is."""
    since = f"step {alarm.step}" if math.isnan(alarm.epoch) else f"epoch {alarm.epoch:.1f}"
    return ": ".join(filter(None, (layer_text(alarm), f"{alarm.what} since {since}", alarm.knob)))


def judged(alarm: "Alarm", *, live: bool = False) -> tuple[str, str]:
    """What a rule says of a run, after what it is: an alarm of a live run; of one that has ended advice, if the rule
    judges its end, else why it ended as it did."""
    from rbp_engine.run.history.rules.alarm_rules import RULES

    if any(rule.at_end for rule in RULES if rule.name == alarm.rule):
        return "advice", ": ".join(filter(None, (alarm.what, alarm.knob)))
    return "alarm" if live else "why", alarm_line(alarm)


def alarm_plain(alarm: "Alarm") -> dict[str, Any]:
    """For JSON."""
    return vars(alarm) | {"epoch": None if math.isnan(alarm.epoch) else alarm.epoch}
