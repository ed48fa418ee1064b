"""The history of a run as a CSV table for other programs: one line per measurement."""

import csv
import io
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rbp_engine.printable import Lines, for_csv, visible
from rbp_engine.report.names import value_text
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Event, Metrics, Probe, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.history.samples import METRICS_KEPT, number_of
from rbp_engine.run.store.run_settings import read_settings

ENVELOPE = ("run", "kind", "t", "attempt", "step")
MEASURED = (
    "epoch",
    "split",
    "weights",
    "samples",
    "loss",
    "top1",
    "top5",
    "top1_by_step",
    "ema_top1",
    "lr",
    "samples_per_s",
    "step_ms",
    "data_ms",
)


def events_csv(run: RunDirectory, settings: Sequence[str] = ()) -> Lines:
    """Metrics, validations and user-defined metrics in order, without those that a resume has superseded.

    Each line also has these settings of the run, by dotted key, so that the tables of several runs can be put together.
    Units are those of the events: fractions, milliseconds, `t` in seconds since the epoch. Values that a kind does not
    have, or that were not finite, are empty. `top1_by_step` has the T accuracies with blanks between them. The columns
    of user-defined metrics, as `own.grad_norm`, come last; those logged at one step share a line of the kind "probe".
    """
    events = [event for event in read_events(run.events()) if isinstance(event.body, (Metrics, Validation, Probe))]
    names = dict.fromkeys(name for event in events for name in _own(event))
    own = list(names)[:METRICS_KEPT]
    out = io.StringIO()
    writer = csv.DictWriter(out, [*ENVELOPE, *settings, *MEASURED, *own], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    found = read_settings(run)
    constant = {"run": run.id} | {key: _plain(found.get(key)) for key in settings}

    def write(event: Event, measured: dict[str, Any]) -> None:
        envelope = {"kind": event.body.kind, "t": event.t, "attempt": event.attempt, "step": event.step}
        values = constant | envelope | measured
        writer.writerow({name: for_csv(_one_cell(value)) for name, value in values.items()})

    for (_, _, kind), together in groupby(events, lambda event: (event.attempt, event.step, event.body.kind)):
        if kind != Probe.kind:
            for event in together:
                write(event, vars(event.body))
            continue
        row: dict[str, Any] = {}
        for event in together:
            row |= _own(event)
        if row:
            write(event, row)
    return visible(out.getvalue())


def _own(event: Event) -> dict[str, float | None]:
    """The column and the number of a user-defined metric; nothing for another event, or a value that is no number."""
    if not isinstance(event.body, Probe) or (number := number_of(event.body.values)) is None:
        return {}
    return {f"own.{event.body.name}": number if math.isfinite(number) else None}


def _one_cell(value: Any) -> Any:
    """Numbers by timestep as one text, with blanks between them."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A number as it is, anything else as a preset writes it; None for a setting that the run does not have."""
    return value if value is None or type(value) in (int, float) else value_text(value)
