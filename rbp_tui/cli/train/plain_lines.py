"""A followed run as lines of text, for a log."""

import sys
import time
from collections.abc import Sequence

from rbp_engine.printable import LONGEST_TEXT, Line, one_line
from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    Event,
    RunEnd,
    RunStart,
    Validation,
    WarningRaised,
    from_json,
)
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import print_line
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import short_id


class PlainLines:
    """One line of text for what a log should keep: starts, epochs, warnings, the end.

    Of `several` runs, each line begins with the end of the run's id and its seed.
    """

    def __init__(self, *, several: bool) -> None:
        self._several = several

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        named = f"{short_id(record.summary)} seed {record.summary.seed}: " if self._several else ""
        for line in lines:
            event = from_json(line)
            text = None if event is None else sentence(event)
            if event is not None and text is not None:
                clock = time.strftime("%H:%M:%S", time.localtime(event.t))
                print_line(one_line(f"{clock} {named}{text}"))
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        """The lines say it all."""


def counted(number: int | None, what: str) -> str:
    """As `1 epoch`, `2 epochs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def sentence(event: Event) -> Line | None:
    """An event as a line of a log, not longer than LONGEST_TEXT; None for those that no log needs."""
    text = _sentence(event)
    return None if text is None else one_line(text, LONGEST_TEXT)


def _sentence(event: Event) -> str | None:
    body = event.body
    if isinstance(body, RunStart):
        verb = f"resumed from {body.resumed_from}" if body.resumed_from else "started"
        processes = f", {body.world_size} processes" if body.world_size > 1 else ""
        epochs, steps = counted(body.epochs, "epoch"), counted(body.steps_per_epoch, "step")
        return f"{verb} on {body.device}{processes}: {epochs} of {steps}"
    if isinstance(body, Validation):
        what = f"epoch {body.epoch}" if body.weights == "last" else "best weights"
        return f"{what}: {body.split} loss {fmt.number(body.loss)} top-1 {fmt.percent(body.top1)} %"
    if isinstance(body, WarningRaised):
        return f"warning: {body.message}"
    if isinstance(body, ErrorRaised):
        return f"error: {body.message}"
    if isinstance(body, CheckpointSaved):
        return None
    if isinstance(body, RunEnd):
        return f"{body.status}{f': {body.reason}' if body.reason else ''}"
    return None
