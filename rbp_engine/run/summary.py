"""`summary.json`: the little that lists of runs read."""

import time
from dataclasses import asdict, dataclass, field, fields

from rbp_engine.run.layout import RunDirectory, read_json, write_json


@dataclass
class Summary:
    """State of a run as its worker last wrote it; the true status is `run/status.py`'s to judge.

    Accuracies are fractions, times seconds since the epoch, memory bytes. `progressed` is when the last step or
    evaluation batch was done, `updated` the last sign of life.
    """

    id: str
    preset: str
    experiment: str
    method: str
    timesteps: int
    seed: int
    status: str = "starting"
    reason: str = ""
    name: str = ""
    tags: list[str] = field(default_factory=list)
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    last: dict[str, float | None] = field(default_factory=dict)
    best: dict[str, float | None] = field(default_factory=dict)
    test: dict[str, float | None] = field(default_factory=dict)
    train: dict[str, float | None] = field(default_factory=dict)
    samples_per_s: float | None = None
    step_ms: float | None = None
    mem_peak: int | None = None
    trained_s: float = 0.0
    attempt: int = 1
    created: float = field(default_factory=time.time)
    progressed: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)


def write_summary(run: RunDirectory, summary: Summary) -> None:
    """Write it atomically, `updated` now."""
    summary.updated = time.time()
    write_json(run.summary_json, asdict(summary))


def read_summary(run: RunDirectory) -> Summary | None:
    """None where there is none, or where it cannot be understood."""
    value = read_json(run.summary_json)
    known = {entry.name for entry in fields(Summary)}
    try:
        return Summary(**{key: item for key, item in value.items() if key in known})
    except TypeError:
        return None
