"""The conditions of a run that its experiment does not fix, but readers may want to know."""

from contextlib import suppress
from itertools import islice
from typing import Any

from rbp_engine.preset.experiment import of_role
from rbp_engine.printable import one_line
from rbp_engine.report.collect import RecordedRun
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.events import RunStart, from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.untrusted_files import open_untrusted

PACKAGES = ("torch", "torchvision", "spikingjelly", "numpy")
# The start of an attempt is among the first events; warnings about checkpoints may come before it.
LINES_TO_LOOK_AT = 20


def conditions(entry: RecordedRun) -> dict[str, str]:
    """Host, device, versions, git state and cost settings, in words, as far as they are recorded."""
    origin, git = entry.origin, entry.origin.git
    attempt = last_attempt(entry.run)
    start = run_start(entry.run)
    known: dict[str, Any] = {
        "preset": entry.summary.preset,
        "host": (attempt.process.host if attempt else "") or origin.host or None,
        "device": device(start),
        "processes": start.world_size if start else None,
        "git commit": git and git.commit[:10] + (" with uncommitted changes" if git.changed else ""),
        "python": origin.python or None,
    }
    known |= {name: origin.packages.get(name) for name in PACKAGES}
    if entry.preset is not None:
        known |= of_role(entry.preset, "cost")
    return {name: one_line(str(value)) for name, value in known.items() if value is not None}


def run_start(run: RunDirectory) -> RunStart | None:
    """The start of the run's first attempt; None if it is not recorded. Reads only the first events."""
    with suppress(OSError), open_untrusted(run.events()) as file:
        for line in islice(file, LINES_TO_LOOK_AT):
            event = from_json(line)
            if event is not None and isinstance(event.body, RunStart):
                return event.body
    return None


def device(start: RunStart | None) -> str | None:
    """The model of the device, without the index: which of several equal cards it was makes no difference."""
    return None if start is None or start.device is None else str(start.device).partition(" (cuda:")[0]
