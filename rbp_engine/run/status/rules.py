"""The rules that judge a run while it trains: what is wrong, since when, its cause, and the setting that changes it.

A rule is a function of a run's history that yields alarms, and a line in `RULES`. An alarm holds at the newest sample.
Where one layer has gone silent, those behind it and the accuracy suffer too: only the first cause is reported. The
limits lie between what runs of the bundled presets show and what runs with a fault show; `tests/alarms` has both.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rbp_engine.run.files.events import Body, FiringRates, GradientFidelity, Health, Metrics, RunStart
from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import History
from rbp_engine.run.status.samples import FiringHistory, HealthHistory, ProbeHistory
from rbp_engine.run.status.sustained import SUSTAINED, Bools, mean_over_epoch, since, sustained

#: The kinds of events that rules read.
JUDGED: tuple[type[Body], ...] = (RunStart, Metrics, FiringRates, GradientFidelity, Health)


@dataclass(frozen=True)
class Alarm:
    """What a rule has found: `layer` is the name of a module, empty for the network; `step` and `epoch` are since when.

    `what` is what was measured, `cause` what usually causes it, `knob` what to change or look at. The epoch is NaN if
    the run has not said how long one is.
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
    """`checks` says of what there is no alarm while all is well, `reads` the samples in `History` that it needs.

    `blocks`: nothing gets through the layer that it names. `follows` are other rules whose alarms may be its cause.
    """

    name: str
    checks: str
    find: Callable[[History], Iterator[Alarm]]
    reads: Literal["firing", "fidelity", "health", "curves"] = "curves"
    blocks: bool = False
    follows: tuple[str, ...] = ()


def alarms(history: History) -> tuple[Alarm, ...]:
    """What is wrong with a run at its newest samples, the earliest first; consequences of an alarm are left out."""
    with np.errstate(all="ignore"):  # events may hold any number
        found = [(rule, alarm) for rule in RULES for alarm in rule.find(history)]
    layers = history.firing.neuron_layers if history.firing is not None else ()
    causes = [alarm for rule, alarm in found if not any(_follows(rule, alarm, *other, layers) for other in found)]
    return tuple(sorted(causes, key=lambda alarm: alarm.step))


def _follows(rule: Rule, alarm: Alarm, other: Rule, earlier: Alarm, layers: Sequence[str]) -> bool:
    """Whether an alarm may be a consequence of another, which came no later.

    Behind a neuron layer that lets nothing through, and of weights and the whole network, everything may be.
    """
    if alarm is earlier or alarm.step < earlier.step:
        return False
    if not other.blocks:
        return other.name in rule.follows
    return alarm.layer not in layers or layers.index(alarm.layer) > layers.index(earlier.layer)


# A layer that passes nothing on

#: The share of neurons that must fire for some sample of a batch. In the presets 57 % or more do, with batches of two
#: images 9 % or more.
FEWEST_ALIVE = 0.05
#: Where few neurons fire from the start, which a small batch is enough for, only a loss is an alarm: of what was alive
#: in the first samples this much must still be.
STILL_ALIVE = 1 / 3
#: A neuron that fires at this rate fires for one image in a hundred. The presets' layers have 8 % or more.
LOWEST_RATE = 0.002
#: Rates that fall by this factor before they vanish do so from layer to layer, not in one.
FADING = 4.0


def silent(history: History) -> Iterator[Alarm]:
    """A layer has fallen silent, and the one before it has not."""
    firing = history.firing
    for number, first in _silent_layers(firing):
        if firing is not None and not _fades(firing, number):
            yield _of_layer(
                "silent",
                firing,
                number,
                first,
                f"{_percent(firing.silent[-1, number])} of its neurons are silent"
                f"{_rate_if_others_fire(firing, number)}",
                "its membranes stay below the threshold: a negative bias of the batch norm before it, a threshold that "
                "is too high for its input, or weights that large updates have spoiled",
                "lower neuron.threshold, or look at the bias of the batch norm before it; if it fell silent in the "
                "first steps, lower optim.lr",
            )


def fading(history: History) -> Iterator[Alarm]:
    """Rates have vanished from layer to layer, up to the first layer that is silent."""
    firing = history.firing
    for number, first in _silent_layers(firing):
        if firing is not None and _fades(firing, number):
            rates = ", ".join(_percent(rate) for rate in firing.rates[-1, : number + 1].mean(-1)[-4:])
            yield _of_layer(
                "fading",
                firing,
                number,
                first,
                f"{_percent(firing.silent[-1, number])} of its neurons are silent: rates vanish with depth ({rates})",
                "each layer passes on less than it receives: weights that are too small for the threshold, without a "
                "batch norm that makes up for it",
                "put a batch norm before each neuron layer, start with larger weights, or lower neuron.threshold",
            )


def _rate_if_others_fire(firing: FiringHistory, number: int) -> str:
    if firing.silent[-1, number] >= 1.0 - FEWEST_ALIVE:
        return ""
    return f", its mean rate is {_percent(firing.rates[-1, number].mean())}"


def _silent_layers(firing: FiringHistory | None) -> Iterator[tuple[int, int]]:
    """The silent layers by number, each with the sample since which it is."""
    if firing is None:
        return
    few = np.minimum(FEWEST_ALIVE, STILL_ALIVE * np.median(1.0 - firing.silent[:SUSTAINED], axis=0))
    yield from sustained(firing, lambda at: (1.0 - at.silent <= few) | (at.rates.mean(-1) <= LOWEST_RATE))


def _fades(firing: FiringHistory, number: int) -> bool:
    """Whether the rates have fallen from the first layer to the one before this."""
    rates = firing.rates[-1].mean(-1)
    return number >= 2 and bool(FADING * rates[number - 1] <= rates[0])


#: The share of neurons that may fire at every timestep for every sample: no healthy run has 10 %, and an image whose
#: background is bright may make half of the first layer do so.
MOST_SATURATED = 0.75


def saturated(history: History) -> Iterator[Alarm]:
    """A layer says the same for every input."""
    if (firing := history.firing) is None:
        return
    for number, first in sustained(firing, lambda at: at.saturated >= MOST_SATURATED):
        yield _of_layer(
            "saturated",
            firing,
            number,
            first,
            f"{_percent(firing.saturated[-1, number])} of its neurons fire at every timestep for every sample",
            "its input stays above the threshold: a large bias of the batch norm before it, or weights that large "
            "updates have spoiled",
            "raise neuron.threshold, or look at the bias of the batch norm before it; if it saturated in the first "
            "steps, lower optim.lr",
        )


# Rates over time

#: The difference between the largest and the smallest rate of the timesteps, by their mean. It is 0.1 to 0.9 in the
#: presets, inputs that move included; 2 is a layer that is silent at first and fires twice its mean at the end.
MOST_UNEVEN = 1.5


def uneven(history: History) -> Iterator[Alarm]:
    """Rates differ strongly between timesteps: the first layer where they do, since it passes that on."""
    if (firing := history.firing) is None or not history.method.startswith("rate"):
        return
    for number, first in list(sustained(firing, _are_uneven))[:1]:
        rates = firing.rates[-1, number]
        yield _of_layer(
            "uneven",
            firing,
            number,
            first,
            f"its rate is {_percent(rates[0])} at the first timestep, {_percent(rates[-1])} at the last, between "
            f"{_percent(rates.min())} and {_percent(rates.max())}",
            "membranes need several timesteps to reach the threshold; the mean over time, which rate-based "
            "backpropagation trains, leaves that out",
            "lower neuron.threshold or neuron.decay; rbp eval RUN --gradients says how far the gradient is from BPTT's",
        )


def _are_uneven(at: FiringHistory) -> Bools:
    mean, spread = at.rates.mean(-1), at.rates.max(-1) - at.rates.min(-1)
    return np.asarray((mean > LOWEST_RATE) & (spread >= MOST_UNEVEN * mean))


# Gradients and updates

#: The largest update of a weight by its size, ‖Δw‖/‖w‖. Healthy runs have 0.05 in the first steps and 0.03 later.
LARGEST_UPDATE = 0.1
#: The same at its smallest, at the highest learning rate of the run so far. Healthy runs have 100 times as much.
SMALLEST_UPDATE = 1e-5
#: The norm of the largest gradient of a weight by that of the smallest. Healthy networks of 12 layers have 10 to 50.
STEEPEST = 1000.0
#: The cosine of the method's gradient with BPTT's. Moving digits, which learn well, have 0.5.
LOWEST_COSINE = 0.4


def large_steps(history: History) -> Iterator[Alarm]:
    """Updates are large beside the weights."""
    if (health := history.health) is None:
        return
    largest = np.fmax.reduce(health.update_ratio, axis=1, initial=0.0)
    if (first := since(largest >= LARGEST_UPDATE)) is not None:
        layer = health.weight_layers[int(np.nanargmax(health.update_ratio[-1]))]
        yield _of_network(
            "large_steps",
            health,
            first,
            f"a step changes the weights of {layer} by {_percent(largest[-1])} of their size",
            "a learning rate that is too high, or gradients that explode",
            "lower optim.lr, or set optim.clip_norm or optim.warmup_epochs",
        )


def small_steps(history: History) -> Iterator[Alarm]:
    """No weight moves and the network has not learned, though the learning rate has not been lowered on purpose."""
    health, curves = history.health, history.curves
    if health is None or history.classes < 2 or not {"lr", "train/loss"} <= curves.keys():
        return
    if not curves["train/loss"].value[-1] > math.log(history.classes) / 2.0:
        return
    lr = np.interp(health.step, curves["lr"].step, curves["lr"].value)
    largest = np.fmax.reduce(health.update_ratio, axis=1, initial=0.0)
    if (first := since(largest * lr.max() <= SMALLEST_UPDATE * lr)) is not None:
        yield _of_network(
            "small_steps",
            health,
            first,
            f"a step changes no weights by more than {largest[-1]:.1e} of their size",
            "a learning rate that is too low, or gradients that vanish in all layers",
            "raise optim.lr by factors of 10",
        )


def gradient(history: History) -> Iterator[Alarm]:
    """The gradient of a weight is lost beside that of one behind it: the first such weight."""
    if (health := history.health) is None:
        return
    for number, first in list(sustained(health, _vanish))[:1]:
        norms = health.gradient_norm
        strongest = int(np.nanargmax(norms[-1]))
        yield Alarm(
            "gradient",
            health.weight_layers[number],
            *_when(health, first),
            f"its gradient has the norm {norms[-1, number]:.1e}, that of {health.weight_layers[strongest]} has "
            f"{norms[-1, strongest]:.1e}",
            "gradients vanish on their way to the first layers: each neuron layer multiplies them by the surrogate's "
            "slope, which is too flat for so many layers, or so steep that few membranes are where it is not 0",
            "change alpha in neuron.surrogate_args, add connections that skip layers, or put a batch norm before each "
            "neuron layer",
        )


def _vanish(at: HealthHistory) -> Bools:
    # NaN is of a weight that is not trained, which is no vanished gradient.
    largest = np.fmax.accumulate(at.gradient_norm[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(at.gradient_norm * STEEPEST < largest)


def fidelity(history: History) -> Iterator[Alarm]:
    """The gradient of a rate method points elsewhere than BPTT's."""
    if (found := history.fidelity) is None or not history.method.startswith("rate"):
        return
    if (first := since(found.cosine <= LOWEST_COSINE)) is not None:
        yield _of_network(
            "fidelity",
            found,
            first,
            f"the cosine of its gradient with that of BPTT is {found.cosine[-1]:.2f}",
            "spikes and gradients vary together in time, which rate-based backpropagation leaves out",
            "lower neuron.decay, neuron.threshold or method.timesteps; method=bptt is the comparison",
        )


# The network as a whole

#: Guessing has the loss ln C. The presets begin there or below, if not in the first samples.
LARGEST_LOSS = 3.0
#: Epochs after which a network has learned something.
LEARNED_AFTER = 3.0
#: What accuracy must be above chance: half of it, and no more than this.
ABOVE_CHANCE = 0.05


def loss(history: History) -> Iterator[Alarm]:
    """The training loss is far above that of guessing."""
    curve, classes = history.curves.get("train/loss"), history.classes
    if curve is None or classes < 2:
        return
    guessing = math.log(classes)
    if (first := since(curve.value > LARGEST_LOSS * guessing)) is not None:
        yield _of_network(
            "loss",
            curve,
            first,
            f"the training loss is {curve.value[-1]:.3g}; guessing among {classes} classes has {guessing:.2f}",
            "steps that are too large have driven the weights away",
            "lower optim.lr, or set optim.warmup_epochs or optim.clip_norm",
        )


def chance(history: History) -> Iterator[Alarm]:
    """The training accuracy of the last epoch is that of guessing."""
    curve, classes = history.curves.get("train/top1"), history.classes
    if curve is None or classes < 2:
        return
    guessing = 1.0 / classes
    accuracy = mean_over_epoch(curve)
    limit = guessing + min(0.5 * guessing, ABOVE_CHANCE)
    if (first := since((curve.epoch >= LEARNED_AFTER) & (accuracy <= limit))) is not None:
        yield _of_network(
            "chance",
            curve,
            first,
            f"the training accuracy of the last epoch is {_percent(accuracy[-1])}; guessing has {_percent(guessing)}",
            "steps that are too small or too large, or labels that do not belong to the inputs",
            "change optim.lr by factors of 10; rbp data check reads the data",
        )


RULES: tuple[Rule, ...] = (
    Rule("silent", "layers whose neurons are silent", silent, "firing", blocks=True),
    Rule("fading", "rates that vanish with depth", fading, "firing", blocks=True),
    Rule("saturated", "layers whose neurons fire all the time", saturated, "firing", blocks=True),
    Rule("uneven", "rates that differ strongly between timesteps (rate methods)", uneven, "firing"),
    Rule("large_steps", "updates that are large beside the weights", large_steps, "health"),
    Rule("small_steps", "updates that are lost beside the weights", small_steps, "health"),
    Rule("gradient", "gradients that vanish before the first layers", gradient, "health", follows=("large_steps",)),
    Rule("fidelity", "a gradient far from BPTT's (rate methods)", fidelity, "fidelity"),
    Rule("loss", "a training loss far above that of guessing", loss, follows=("large_steps", "gradient")),
    Rule(
        "chance",
        "a training accuracy of chance after three epochs",
        chance,
        follows=("uneven", "large_steps", "small_steps", "gradient", "fidelity", "loss"),
    ),
)


def unchecked(history: History) -> tuple[Rule, ...]:
    """The rules that have nothing to read yet, or never will because their probe is off."""
    known = {
        "firing": history.firing is not None,
        "fidelity": history.fidelity is not None,
        "health": history.health is not None,
        "curves": history.classes > 0 and "train/loss" in history.curves,
    }
    return tuple(rule for rule in RULES if not known[rule.reads])


def _of_layer(rule: str, firing: FiringHistory, number: int, first: int, what: str, cause: str, knob: str) -> Alarm:
    return Alarm(rule, firing.neuron_layers[number], *_when(firing, first), what, cause, knob)


def _of_network(rule: str, samples: ProbeHistory | Curve, first: int, what: str, cause: str, knob: str) -> Alarm:
    return Alarm(rule, "", *_when(samples, first), what, cause, knob)


def _when(samples: ProbeHistory | Curve, first: int) -> tuple[int, float]:
    return int(samples.step[first]), float(samples.epoch[first])


def _percent(share: float) -> str:
    """As "98 %"; with a digit behind the point where it is small."""
    if 0.0 < share < 0.0005:
        return "<0.1 %"
    return f"{100.0 * share:.{0 if share >= 0.0995 or share == 0 else 1}f} %"
