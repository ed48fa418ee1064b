"""Requests of a screen to the app, for another screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message


@dataclass
class OpenRun(Message):
    """Show a run in the Monitor."""

    run_id: str


@dataclass
class CompareRuns(Message):
    """Show runs side by side."""

    run_ids: Sequence[str]


@dataclass
class RunAgain(Message):
    """Open the launch form filled from a run; nothing is created before it is confirmed."""

    run_id: str


@dataclass
class PresetFromRun(Message):
    """Write the settings of a run as a preset of the user's own, and edit it."""

    run_id: str


@dataclass
class SweepOfRun(Message):
    """Show the table of the sweep that a run belongs to."""

    run_id: str


@dataclass
class SweepOfPreset(Message):
    """Show the table of the sweep that a preset has."""

    path: Path
    name: str


@dataclass
class LaunchPreset(Message):
    """Open the launch form for a preset; nothing is created before it is confirmed."""

    path: Path
    name: str
