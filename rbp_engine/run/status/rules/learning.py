"""Rules about what the network as a whole has learned."""

import math
from collections.abc import Iterator

from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.rule import Alarm, of_network, percent
from rbp_engine.run.status.sustained import mean_over_epoch, since

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
    """The training loss is far above that of guessing."""
    curve, classes = history.curves.get("train/loss"), history.classes
    if curve is None or classes < 2:
        return
    guessing = math.log(classes)
    if (first := since(curve.value > LARGEST_LOSS * guessing)) is not None:
        yield of_network(
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
    if (first := since((curve.epoch >= LEARNED_AFTER) & (accuracy <= chance_limit(classes)))) is not None:
        yield of_network(
            "chance",
            curve,
            first,
            f"the training accuracy of the last epoch is {percent(accuracy[-1])}; guessing has {percent(guessing)}",
            "steps that are too small or too large, or labels that do not belong to the inputs",
            "change optim.lr by factors of 10; rbp data check reads the data",
        )
