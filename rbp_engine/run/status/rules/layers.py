"""Rules about the spikes of a layer: it lets nothing through, or its rates differ strongly over time."""

from collections.abc import Iterator

import numpy as np

from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.rule import Alarm, of_layer, percent
from rbp_engine.run.status.samples import FiringHistory
from rbp_engine.run.status.sustained import SUSTAINED, Bools, sustained

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
            yield of_layer(
                "silent",
                firing,
                number,
                first,
                f"{percent(firing.silent[-1, number])} of its neurons are silent{_rate_if_others_fire(firing, number)}",
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
            rates = ", ".join(percent(rate) for rate in firing.rates[-1, : number + 1].mean(-1)[-4:])
            yield of_layer(
                "fading",
                firing,
                number,
                first,
                f"{percent(firing.silent[-1, number])} of its neurons are silent: rates vanish with depth ({rates})",
                "each layer passes on less than it receives: weights that are too small for the threshold, without a "
                "batch norm that makes up for it",
                "put a batch norm before each neuron layer, start with larger weights, or lower neuron.threshold",
            )


def _rate_if_others_fire(firing: FiringHistory, number: int) -> str:
    if firing.silent[-1, number] >= 1.0 - FEWEST_ALIVE:
        return ""
    return f", its mean rate is {percent(firing.rates[-1, number].mean())}"


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
        yield of_layer(
            "saturated",
            firing,
            number,
            first,
            f"{percent(firing.saturated[-1, number])} of its neurons fire at every timestep for every sample",
            "its input stays above the threshold: a large bias of the batch norm before it, or weights that large "
            "updates have spoiled",
            "raise neuron.threshold, or look at the bias of the batch norm before it; if it saturated in the first "
            "steps, lower optim.lr",
        )


#: The difference between the largest and the smallest rate of the timesteps, by their mean. It is 0.1 to 0.9 in the
#: presets, inputs that move included; 2 is a layer that is silent at first and fires twice its mean at the end.
MOST_UNEVEN = 1.5


def uneven(history: History) -> Iterator[Alarm]:
    """Rates differ strongly between timesteps: the first layer where they do, since it passes that on."""
    if (firing := history.firing) is None or not history.method.startswith("rate"):
        return
    for number, first in list(sustained(firing, _are_uneven))[:1]:
        rates = firing.rates[-1, number]
        yield of_layer(
            "uneven",
            firing,
            number,
            first,
            f"its rate is {percent(rates[0])} at the first timestep, {percent(rates[-1])} at the last, between "
            f"{percent(rates.min())} and {percent(rates.max())}",
            "membranes need several timesteps to reach the threshold; the mean over time, which rate-based "
            "backpropagation trains, leaves that out",
            "lower neuron.threshold or neuron.decay; rbp eval RUN gradients says how far the gradient is from BPTT's",
        )


def _are_uneven(at: FiringHistory) -> Bools:
    mean, spread = at.rates.mean(-1), at.rates.max(-1) - at.rates.min(-1)
    return np.asarray((mean > LOWEST_RATE) & (spread >= MOST_UNEVEN * mean))
