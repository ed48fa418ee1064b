"""Rules that judge a run while it trains: spikes of layers, gradients and updates, and what it has learned."""

import math
from collections.abc import Iterator

import numpy as np

from rbp_engine.run.history.history import History
from rbp_engine.run.history.rules.rule import (
    SUSTAINED,
    Alarm,
    Bools,
    alarm,
    mean_over_epoch,
    percent,
    since,
    sustained,
)
from rbp_engine.run.history.samples import FiringHistory, HealthHistory
from rbp_engine.vocabulary import RATE_METHODS

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
    for firing, number, first in _silent_layers(history):
        if not _fades(firing, number):
            yield alarm(
                "silent",
                firing,
                first,
                f"{percent(firing.silent[-1, number])} of its neurons are silent{_rate_if_others_fire(firing, number)}",
                "its membranes stay below the threshold: a negative bias of what is before it, a threshold that is too "
                "high for its input, or weights that large updates have spoiled",
                "lower neuron.threshold, or look at the bias of what is before it; if it fell silent in the first "
                "steps, lower optim.lr",
                firing.neuron_layers[number],
            )


def fading(history: History) -> Iterator[Alarm]:
    """Rates have vanished from layer to layer, up to the first layer that is silent."""
    for firing, number, first in _silent_layers(history):
        if _fades(firing, number):
            rates = ", ".join(percent(rate) for rate in firing.rates[-1, : number + 1].mean(-1)[-4:])
            yield alarm(
                "fading",
                firing,
                first,
                f"{percent(firing.silent[-1, number])} of its neurons are silent: rates vanish with depth ({rates})",
                "each layer passes on less than it receives: weights that are too small for the threshold, without a "
                "batch norm that makes up for it",
                "put a batch norm before each neuron layer, start with larger weights, or lower neuron.threshold",
                firing.neuron_layers[number],
            )


def _rate_if_others_fire(firing: FiringHistory, number: int) -> str:
    if firing.silent[-1, number] >= 1.0 - FEWEST_ALIVE:
        return ""
    return f", its mean rate is {percent(firing.rates[-1, number].mean())}"


def _silent_layers(history: History) -> Iterator[tuple[FiringHistory, int, int]]:
    """The silent layers by number, each with the sample since which it is."""
    if (firing := history.firing) is None:
        return
    few = np.minimum(FEWEST_ALIVE, STILL_ALIVE * np.median(1.0 - firing.silent[:SUSTAINED], axis=0))
    for found in sustained(firing, lambda at: (1.0 - at.silent <= few) | (at.rates.mean(-1) <= LOWEST_RATE)):
        yield firing, *found


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
        yield alarm(
            "saturated",
            firing,
            first,
            f"{percent(firing.saturated[-1, number])} of its neurons fire at every timestep for every sample",
            "its input stays above the threshold: a large bias of what is before it, or weights that large updates "
            "have spoiled",
            "raise neuron.threshold, or look at the bias of what is before it; if it saturated in the first steps, "
            "lower optim.lr",
            firing.neuron_layers[number],
        )


#: The difference between the largest and the smallest rate of the timesteps, by their mean. It is 0.1 to 0.9 in the
#: presets, inputs that move included; 2 is a layer that is silent at first and fires twice its mean at the end.
MOST_UNEVEN = 1.5


def uneven(history: History) -> Iterator[Alarm]:
    """Rates differ strongly between timesteps: the first layer where they do, since it passes that on."""
    if (firing := history.firing) is None or history.method not in RATE_METHODS:
        return
    for number, first in list(sustained(firing, _are_uneven))[:1]:
        rates = firing.rates[-1, number]
        yield alarm(
            "uneven",
            firing,
            first,
            f"its rate is {percent(rates[0])} at the first timestep, {percent(rates[-1])} at the last, between "
            f"{percent(rates.min())} and {percent(rates.max())}",
            "membranes need several timesteps to reach the threshold; the mean over time, which rate-based "
            "backpropagation trains, leaves that out",
            "lower neuron.threshold or neuron.decay; rbp eval RUN gradients says how far the gradient is from BPTT's",
            firing.neuron_layers[number],
        )


def _are_uneven(at: FiringHistory) -> Bools:
    mean, spread = at.rates.mean(-1), at.rates.max(-1) - at.rates.min(-1)
    return np.asarray((mean > LOWEST_RATE) & (spread >= MOST_UNEVEN * mean))


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
        yield alarm(
            "large_steps",
            health,
            first,
            f"a step changes the weights of {layer} by {percent(largest[-1])} of their size",
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
        yield alarm(
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
        yield alarm(
            "gradient",
            health,
            first,
            f"its gradient has the norm {norms[-1, number]:.1e}, that of {health.weight_layers[strongest]} has "
            f"{norms[-1, strongest]:.1e}",
            "gradients vanish on their way to the first layers: each neuron layer multiplies them by the surrogate's "
            "slope, which is too flat for so many layers, or so steep that few membranes are where it is not 0",
            "change alpha in neuron.surrogate_args, add connections that skip layers, or put a batch norm before each "
            "neuron layer",
            health.weight_layers[number],
        )


def _vanish(at: HealthHistory) -> Bools:
    # NaN is of a weight that is not trained, which is no vanished gradient.
    largest = np.fmax.accumulate(at.gradient_norm[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(at.gradient_norm * STEEPEST < largest)


def fidelity(history: History) -> Iterator[Alarm]:
    """The gradient of a rate method points elsewhere than BPTT's."""
    if (found := history.fidelity) is None or history.method not in RATE_METHODS:
        return
    if (first := since(found.cosine <= LOWEST_COSINE)) is not None:
        yield alarm(
            "fidelity",
            found,
            first,
            f"the cosine of its gradient with that of BPTT is {found.cosine[-1]:.2f}",
            "spikes and gradients vary together in time, which rate-based backpropagation leaves out",
            "lower neuron.decay, neuron.threshold or method.timesteps; method=bptt is the comparison",
        )


#: Guessing has the loss ln C. The presets begin there or below, if not in the first samples.
LARGEST_LOSS = 3.0
#: Epochs after which a network has learned something.
LEARNED_AFTER = 3.0
#: What accuracy must be above chance: half of it, and no more than this.
ABOVE_CHANCE = 0.05


def chance_limit(classes: int) -> float:
    """The accuracy up to which a network has learned nothing."""
    guessing = 1.0 / classes
    return guessing + min(0.5 * guessing, ABOVE_CHANCE)


def loss(history: History) -> Iterator[Alarm]:
    """The training loss is far above that of guessing, or has been and is not yet half of that."""
    curve, classes = history.curves.get("train/loss"), history.classes
    if curve is None or classes < 2:
        return
    guessing = math.log(classes)
    far = curve.value > LARGEST_LOSS * guessing
    if np.count_nonzero(far) >= SUSTAINED and curve.value[-1] > guessing / 2:
        far = np.logical_or.accumulate(far)
    if (first := since(far)) is not None:
        last, largest = curve.value[-1], np.nanmax(curve.value[first:])
        yield alarm(
            "loss",
            curve,
            first,
            f"the training loss has not come back from {largest:.3g} (now {last:.3g}; guessing among {classes} "
            f"classes has {guessing:.2f})",
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
    if (first := since((curve.epoch >= LEARNED_AFTER) & (accuracy <= chance_limit(classes)))) is not None:
        yield alarm(
            "chance",
            curve,
            first,
            f"the training accuracy of the last epoch is {percent(accuracy[-1])}; guessing has {percent(guessing)}",
            "steps that are too small or too large, or labels that do not belong to the inputs",
            "change optim.lr by factors of 10; rbp data check reads the data",
        )
