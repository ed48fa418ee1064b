"""What a rule is, what it finds, and how it says so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import History
from rbp_engine.run.status.samples import FiringHistory, ProbeHistory

#: Samples of probes; the training loss; evaluations; several of them by timestep; the times of steps; the memory that
#: there is; the times of several processes.
Reads: TypeAlias = Literal[
    "firing", "fidelity", "health", "curves", "evaluations", "timesteps", "times", "memory", "ranks"
]


@dataclass(frozen=True)
class Alarm:
    """What a rule has found: `layer` is the name of a module, empty for the network; `step` and `epoch` are since when.

    `what` is what was measured, `cause` what usually causes it, `knob` what to change or look at. The epoch is NaN if
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


def of_layer(rule: str, firing: FiringHistory, number: int, first: int, what: str, cause: str, knob: str) -> Alarm:
    """An alarm about a layer by its number, since the sample `first`."""
    return Alarm(rule, firing.neuron_layers[number], *when(firing, first), what, cause, knob)


def of_network(rule: str, samples: ProbeHistory | Curve, first: int, what: str, cause: str, knob: str) -> Alarm:
    """An alarm about the network, since the sample `first`."""
    return Alarm(rule, "", *when(samples, first), what, cause, knob)


def when(samples: ProbeHistory | Curve, first: int) -> tuple[int, float]:
    """Step and epoch of a sample."""
    return int(samples.step[first]), float(samples.epoch[first])


def percent(share: float) -> str:
    """As "98 %"; with a digit behind the point where it is small."""
    if 0.0 < share < 0.0005:
        return "<0.1 %"
    return f"{100.0 * share:.{0 if share >= 0.0995 or share == 0 else 1}f} %"
