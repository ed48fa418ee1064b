"""Rules about gradients and updates."""

import math
from collections.abc import Iterator

import numpy as np

from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.rule import Alarm, of_network, percent, when
from rbp_engine.run.status.samples import HealthHistory
from rbp_engine.run.status.sustained import Bools, since, sustained

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
        yield of_network(
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
        yield of_network(
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
            *when(health, first),
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
        yield of_network(
            "fidelity",
            found,
            first,
            f"the cosine of its gradient with that of BPTT is {found.cosine[-1]:.2f}",
            "spikes and gradients vary together in time, which rate-based backpropagation leaves out",
            "lower neuron.decay, neuron.threshold or method.timesteps; method=bptt is the comparison",
        )
