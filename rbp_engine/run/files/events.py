"""The events of a run: typed kinds, one schema. The worker writes them, everything else reads them.

Each line is a JSON object: `v` (version of the schema), `seq` (line number in the file), `t` (seconds since the
epoch), `attempt` (1 for the first start, one more for every resume), `rank`, `step` (completed optimizer steps),
`kind`, and the fields of the kind. Accuracy is a fraction in [0, 1], durations are milliseconds, memory is bytes, and
a number that is not finite is null. Text is printable: that of a damaged or hostile file becomes so when it is read.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias, get_args

from rbp_engine.codec import Count, Seconds, decode
from rbp_engine.printable import NO_TEXT, Line, Lines, one_line
from rbp_engine.run.files.layout import json_text

VERSION = 1
ELIGIBILITY_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

TEST, LAST = one_line("test"), one_line("last")


class _Numbers:
    """Numbers of which some may not be known."""

    @property
    def known(self) -> dict[str, Any]:
        """The known ones by name."""
        return {name: number for name, number in vars(self).items() if number is not None}


@dataclass(frozen=True)
class Scores(_Numbers):
    """Accuracies (fractions) and loss of training or of an evaluation, after `epoch` epochs; None where unknown.

    `ema_top1` is the top-1 of the moving average of the weights, if the run has one.
    """

    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    epoch: Count | None = None
    ema_top1: float | None = None


@dataclass(frozen=True)
class Top1ByWeights(_Numbers):
    """The top-1 on the test set after training, by weights, where the epochs were evaluated on held-out data."""

    last: float | None = None
    best: float | None = None
    ema: float | None = None


@dataclass(frozen=True)
class ReachedSoFar:
    """What a run has reached where an attempt begins, as in `summary.json`."""

    last: Scores = field(default_factory=Scores)
    best: Scores = field(default_factory=Scores)
    train: Scores = field(default_factory=Scores)
    timesteps_needed: Count | None = None
    trained_s: Seconds = 0.0


@dataclass(frozen=True)
class RunStart:
    """An attempt begins; its `step` is the one that it resumes from, 0 for the first. Later steps are superseded.

    `epoch` counts the epochs complete at that step, evaluation included. `exact` is false if the number of processes or
    of epochs, or the type of device, has changed since the checkpoint. `logs` is the folder of this rank's stdout and
    stderr, relative to the run's. `neuron_layers` and `weight_layers` are the layers that events of probes tell of, by
    the names of their modules; one that has only a number by its kind and number. `method` trains the network, and
    `classes` is the number of labels. `memory` is that of the card in bytes; without one, what the process may use of
    the host's. `split` is what epochs are evaluated on. `steps` are those of the whole run, where they are not whole
    epochs of `steps_per_epoch`. Of the steps of an epoch, each takes `samples_per_step`, and the last one what is left.
    """

    kind: ClassVar[str] = "run_start"
    resumed_from: Line | None = None
    exact: bool = True
    world_size: Count = 1
    device: Line | None = None
    host: Line | None = None
    steps_per_epoch: Count | None = None
    samples_per_epoch: Count | None = None
    samples_per_step: Count | None = None
    epochs: Count | None = None
    steps: Count | None = None
    epoch: Count | None = None
    logs: Line | None = None
    gap_from: Count | None = None
    neuron_layers: list[Line] | None = None
    weight_layers: list[Line] | None = None
    method: Line = NO_TEXT
    classes: Count | None = None
    memory: Count | None = None
    split: Line = TEST
    reached: ReachedSoFar = field(default_factory=ReachedSoFar)


@dataclass(frozen=True)
class Metrics:
    """Training over the last `train.log_every` steps; `step_ms` contains `data_ms`, both per step.

    `lr` is None where another program trains and has not said it. `trained_s` are the seconds of all steps so far.
    """

    kind: ClassVar[str] = "metrics"
    epoch: Count
    loss: float | None
    top1: float | None
    lr: float | None
    samples_per_s: float | None = None
    step_ms: float | None = None
    data_ms: float | None = None
    trained_s: Seconds | None = None


@dataclass(frozen=True)
class Validation:
    """An evaluation after `epoch` completed epochs, on "test" or "held-out" data, with the "last", "best" or "ema"
    weights.

    `top1_by_step` is the accuracy of the first t timesteps, t = 1 … T; `ema_top1` that of the moving average of the
    weights (train.ema), if the run has one.
    """

    kind: ClassVar[str] = "validation"
    epoch: Count
    loss: float | None
    top1: float | None
    top5: float | None
    samples: Count
    split: Line = TEST
    weights: Line = LAST
    top1_by_step: list[float | None] | None = None
    ema_top1: float | None = None


@dataclass(frozen=True)
class System:
    """Memory of one rank in bytes; utilisation (a fraction) and power (watts) of its GPU.

    `step_ms` contains `data_ms`, the wait for data; both per step, over the steps since the rank's last `System` event.
    """

    kind: ClassVar[str] = "system"
    mem_allocated: Count | None = None
    mem_reserved: Count | None = None
    mem_peak: Count | None = None
    rss: Count | None = None
    gpu_util: float | None = None
    power: float | None = None
    step_ms: float | None = None
    data_ms: float | None = None

    @property
    def used(self) -> int | None:
        """The memory in use: allocated on the GPU, or resident if there is none."""
        return self.rss if self.mem_allocated is None else self.mem_allocated


@dataclass(frozen=True)
class FiringRates:
    """Spikes of one training step: `rates` has for each neuron layer the mean of its spikes at each timestep.

    `silent` and `saturated` are shares of a layer's neurons: of those that fired for no sample of the batch, and of
    those that fired at every timestep for every sample. `RunStart` has the names of the layers. With several processes
    these are the samples of rank 0.
    """

    kind: ClassVar[str] = "firing_rates"
    rates: list[list[float | None]]
    silent: list[float | None]
    saturated: list[float | None]


@dataclass(frozen=True)
class GradientFidelity:
    """How close the gradient is to BPTT's on a fixed batch: of all weights together, and of each weight layer.

    A cosine is that of the angle between the two gradients, a norm ratio is the method's norm by BPTT's; both are None
    where a gradient is 0. `neuron_error` and `weight_error` say how far the rate methods' assumption is from the truth,
    relative to BPTT's gradient: for each neuron layer, that slopes and gradients do not vary together in time, and for
    each weight layer, that inputs and gradients do not. `samples` is the size of the batch.
    """

    kind: ClassVar[str] = "gradient_fidelity"
    samples: Count
    cosine: float | None
    norm_ratio: float | None
    cosine_by_weight: list[float | None]
    norm_ratio_by_weight: list[float | None]
    neuron_error: list[float | None]
    weight_error: list[float | None]


@dataclass(frozen=True)
class Health:
    """Of one training step, by layer: where membranes and eligibilities are, how large gradients and updates are.

    `in_window` is the share of a neuron layer's membranes within the surrogate's window, `eligibility` the quantiles
    ELIGIBILITY_QUANTILES of its g (paper, equation 10). `gradient_norm` is the Euclidean norm of the gradient of each
    weight layer, `update_ratio` the norm of its update by the norm of the weights. `decay` and `threshold` are the λ
    and V_th of each neuron layer, the mean over channels, in a network that learns some of them; else empty.
    """

    kind: ClassVar[str] = "health"
    in_window: list[float | None]
    eligibility: list[list[float | None]]
    gradient_norm: list[float | None]
    update_ratio: list[float | None]
    decay: list[float | None] = field(default_factory=list)
    threshold: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Probe:
    """A measurement by the probe of this name."""

    kind: ClassVar[str] = "probe"
    name: Line
    values: Any = None


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete; `name` is its folder below `checkpoints/`."""

    kind: ClassVar[str] = "checkpoint"
    name: Line
    size: Count | None = None
    save_ms: float | None = None
    best: bool = False


@dataclass(frozen=True)
class WarningRaised:
    kind: ClassVar[str] = "warning"
    message: Lines


@dataclass(frozen=True)
class AlertRaised:
    """What the `rule` of the run's guard says has happened, with the value that did; once for a rule and attempt.

    Of another program's run, the rule "recording" and how many of its numbers are lost; each time that some are.
    """

    kind: ClassVar[str] = "alert"
    rule: Line
    value: float | None
    message: Lines


@dataclass(frozen=True)
class ErrorRaised:
    """An exception; `cause` is a value of `run.cause.Cause`.

    `about_others`: it only reports that another process of the run is gone; the reason is in that process's own events.
    """

    kind: ClassVar[str] = "error"
    message: Lines
    traceback: Lines | None = None
    about_others: bool = False
    cause: str = ""


@dataclass(frozen=True)
class Heartbeat:
    kind: ClassVar[str] = "heartbeat"


@dataclass(frozen=True)
class RunEnd:
    """How the attempt ended, as the worker reports it; `last` and `best` are those of `summary.json`.

    `cause` is a value of `run.cause.Cause`, empty if the run has completed.
    """

    kind: ClassVar[str] = "run_end"
    status: str
    reason: Lines = NO_TEXT
    cause: str = ""
    last: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    trained_s: Seconds | None = None


Body: TypeAlias = (
    RunStart
    | Metrics
    | Validation
    | System
    | FiringRates
    | GradientFidelity
    | Health
    | Probe
    | CheckpointSaved
    | WarningRaised
    | AlertRaised
    | ErrorRaised
    | Heartbeat
    | RunEnd
)
KINDS: dict[str, type[Body]] = {kind.kind: kind for kind in get_args(Body)}


@dataclass(frozen=True)
class _Head:
    """What every line has, whatever its kind."""

    seq: Count
    t: Seconds
    attempt: Count
    rank: Count
    step: Count


@dataclass(frozen=True)
class _Envelope(_Head):
    v: Count
    kind: str


@dataclass(frozen=True)
class Event(_Head):
    body: Body


def to_json(event: Event) -> str:
    """The event as one line, without the newline."""
    envelope = {
        "v": VERSION,
        "seq": event.seq,
        "t": round(event.t, 3),
        "attempt": event.attempt,
        "rank": event.rank,
        "step": event.step,
        "kind": event.body.kind,
    }
    body = {
        name: asdict(value) if isinstance(value, ReachedSoFar) else value for name, value in vars(event.body).items()
    }
    return json_text(envelope | body)


def from_json(line: bytes) -> Event | None:
    """The event in a line; None if it is not an event, of an unknown kind, or of another version of the schema."""
    try:
        found = decode(_Envelope, line)
        kind = KINDS.get(found.kind)
        if kind is None or found.v != VERSION:
            return None
        return Event(found.seq, found.t, found.attempt, found.rank, found.step, decode(kind, line))
    except ValueError:
        return None


def supersede(events: Iterable[Event]) -> list[Event]:
    """Drop what a later attempt has repeated: events of earlier attempts beyond the step that it resumed from.

    From the last event on, so that each is compared with the lowest step and epoch at which a later attempt began: a
    hostile file may begin one in every line.
    """
    kept: list[Event] = []
    step = epoch = math.inf
    for event in reversed([*events]):
        body = event.body
        if event.step <= step and not (isinstance(body, Validation) and body.epoch > epoch):
            kept.append(event)
        if isinstance(body, RunStart):
            step = min(step, event.step)
            epoch = epoch if body.epoch is None else min(epoch, body.epoch)
    return kept[::-1]


def done_again(attempt: Any, step: Any, validated_epoch: Any, event: Event, start: RunStart) -> Any:
    """Whether the attempt that begins with `event`, a `RunStart`, repeats an earlier event, by the numbers of that or
    arrays of them; the epoch is that of a validation, else None."""
    again = step > event.step
    # A checkpoint made during an evaluation does not contain its result, though no step lies between the two.
    if validated_epoch is not None and start.epoch is not None:
        again = again | (validated_epoch > start.epoch)
    return (attempt < event.attempt) & again
