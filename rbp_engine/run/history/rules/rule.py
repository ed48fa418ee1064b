"""What a rule is, what it finds and since when, and how it says so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History
from rbp_engine.run.history.samples import FiringHistory, Floats, HealthHistory, ProbeHistory

#: Samples of probes; the training loss; evaluations; several of them by timestep; the times of steps; the memory that
#: there is; the times of several processes.
Reads: TypeAlias = Literal[
    "firing", "fidelity", "health", "curves", "evaluations", "timesteps", "times", "memory", "ranks"
]


@dataclass(frozen=True)
class Alarm:
    """What a rule has found: `layer` is the name of a module, empty for the network; `step` and `epoch` are since when.

    `what` is what was measured, `cause` what usually causes it, `knob` what to change or look at,
    empty where another program trains. The epoch is NaN if
    the run has not said how long one is. Of a rule about the end of a run, step and epoch are those that it is about.
    """

    rule: str
    layer: str
    step: int
    epoch: float
    what: str
    cause: str
    knob: str


@dataclass(frozen=True)
class Rule:
    """`checks` says of what there is no alarm while all is well, `reads` what of a `History` it needs.

    `at_end`: it judges a run that has ended. `blocks`: nothing gets through the layer that it names. `follows` are
    other rules whose alarms may be its cause.
    """

    name: str
    checks: str
    find: Callable[[History], Iterator[Alarm]]
    reads: Reads = "curves"
    at_end: bool = False
    blocks: bool = False
    follows: tuple[str, ...] = ()


def alarm(
    rule: str, samples: ProbeHistory | Curve, first: int, what: str, cause: str, knob: str, layer: str = ""
) -> Alarm:
    """An alarm about a layer, or without one about the network, since the sample `first`."""
    return Alarm(rule, layer, int(samples.step[first]), float(samples.epoch[first]), what, cause, knob)


def percent(share: float) -> str:
    """As "98 %"; with a digit behind the point where it is small."""
    if 0.0 < share < 0.0005:
        return "<0.1 %"
    return f"{100.0 * share:.{0 if share >= 0.0995 or share == 0 else 1}f} %"


Bools: TypeAlias = NDArray[np.bool_]
S = TypeVar("S", FiringHistory, HealthHistory)

#: Samples in a row, the newest included, for which something must be so: one batch may be odd.
SUSTAINED = 3


def sustained(samples: S, so: Callable[[S], Bools]) -> Iterator[tuple[int, int]]:
    """The layers of which something is so now, as a function says of samples [N, L]; each with the sample since when.

    Mostly it is so of none in the newest samples, and then that is all that is looked at.
    """
    if not so(samples.newest(SUSTAINED)).all(0).any():
        return
    found = so(samples)
    for number in range(found.shape[1]):
        if (first := since(found[:, number])) is not None:
            yield number, first


def since(found: Bools) -> int | None:
    """The sample [N] since which it has held without a break; None if it does not, or not for long enough."""
    breaks = np.flatnonzero(~found)
    first = int(breaks[-1]) + 1 if len(breaks) else 0
    return first if len(found) - first >= SUSTAINED else None


def mean_over_epoch(curve: Curve) -> Floats:
    """For each sample the mean of those of the epoch before it, itself included: [N]."""
    known = np.isfinite(curve.value)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, curve.value, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    begins = np.searchsorted(curve.epoch, curve.epoch - 1.0, side="right")
    begins = np.minimum(begins, np.arange(len(curve)))
    ends = np.arange(1, len(curve) + 1)
    return np.asarray((sums[ends] - sums[begins]) / (counts[ends] - counts[begins]))
