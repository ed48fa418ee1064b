"""Alarms as lines of text."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbp_engine.run.status.rules import Alarm

NETWORK = "network"


def layer_text(alarm: "Alarm") -> str:
    """The layer it is about; the network if it is about no layer."""
    return alarm.layer or NETWORK


def since_text(alarm: "Alarm") -> str:
    """As `epoch 2.2`; the step if it is not known how long an epoch is."""
    return f"step {alarm.step}" if math.isnan(alarm.epoch) else f"epoch {alarm.epoch:.1f}"


def alarm_line(alarm: "Alarm") -> str:
    """What it is, since when, and what to do."""
    return f"{layer_text(alarm)}: {alarm.what}, since {since_text(alarm)}: {alarm.knob}"


def alarm_plain(alarm: "Alarm") -> dict[str, Any]:
    """For JSON."""
    return vars(alarm) | {"epoch": None if math.isnan(alarm.epoch) else alarm.epoch}
