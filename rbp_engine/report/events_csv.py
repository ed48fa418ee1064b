"""The history of a run as a CSV table for other programs: one line per measurement."""

import csv
import io

from rbp_engine.printable import Lines, for_csv, visible
from rbp_engine.run.files.events import Metrics, Validation, read_events
from rbp_engine.run.files.layout import RunDirectory

ENVELOPE = ("run", "kind", "t", "attempt", "step")
MEASURED = (
    "epoch",
    "split",
    "weights",
    "samples",
    "loss",
    "top1",
    "top5",
    "lr",
    "samples_per_s",
    "step_ms",
    "data_ms",
)


def events_csv(run: RunDirectory) -> Lines:
    """Metrics and validations in order, without those that a resume has superseded.

    Units are those of the events: fractions, milliseconds, `t` in seconds since the epoch. Values that a kind does not
    have, or that were not finite, are empty.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, [*ENVELOPE, *MEASURED], lineterminator="\n")
    writer.writeheader()
    for event in read_events(run.events()):
        if isinstance(event.body, (Metrics, Validation)):
            envelope = {"run": run.id, "kind": event.body.kind, "t": event.t, "attempt": event.attempt}
            values = envelope | {"step": event.step} | vars(event.body)
            writer.writerow({name: for_csv(value) for name, value in values.items()})
    return visible(out.getvalue())
