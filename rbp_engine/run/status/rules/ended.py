"""Rules about a run that has ended: what its accuracy, its schedule and its length say about the next one.

Accuracies differ from evaluation to evaluation, so the end of a run is the best of its last three.
"""

from collections.abc import Iterator

import numpy as np

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.learning import chance_limit
from rbp_engine.run.status.rules.rule import Alarm, of_network, percent
from rbp_engine.run.status.sustained import SUSTAINED, mean_over_epoch
from rbp_engine.run.timesteps_needed import timesteps_needed

#: The accuracy that a run has lost since its best epoch. The presets' runs lose a quarter of that at most.
LOST = 0.01
#: The training accuracy above that of the evaluations, where the loss of these has risen by a part. Networks that fit
#: their training set have such a gap and are well as long as the loss does not rise.
GAP, RISEN = 0.1, 1.2
#: The share of the largest learning rate with which a schedule is not at its end yet.
UNFINISHED = 0.1
#: What is no progress: the best epoch is in the first half of the run, of so many evaluations at least.
HALF, EVALUATIONS = 0.5, 10


def decline(history: History) -> Iterator[Alarm]:
    """The accuracy has fallen since its best epoch, and that of training with it."""
    scores, training = history.curves.get("validation/top1"), history.curves.get("train/top1")
    if scores is None or training is None or len(scores) <= SUSTAINED:
        return
    best, lost = _best(scores)
    seen = mean_over_epoch(training)
    if lost >= LOST and seen[-1] < np.interp(scores.step[best], training.step, seen):
        yield of_network(
            "decline",
            scores,
            best,
            f"best at epoch {scores.epoch[best]:.0f} with {percent(scores.value[best])}, at the end "
            f"{100.0 * lost:.1f} points lower, and the training accuracy fell as well",
            "a learning rate that is too high at the end of the run",
            "let it fall to the end (optim.schedule=cosine), or lower optim.lr; checkpoints/best has the best weights",
        )


def overfit(history: History) -> Iterator[Alarm]:
    """The training accuracy is far above that of the evaluations, whose loss rises."""
    curves = history.curves
    if not {"validation/top1", "validation/loss", "train/top1"} <= curves.keys():
        return
    scores, losses, training = curves["validation/top1"], curves["validation/loss"], curves["train/top1"]
    if len(losses) <= SUSTAINED:
        return
    lowest = int(np.nanargmin(losses.value))
    seen, reached = mean_over_epoch(training)[-1], np.nanmax(scores.value[-SUSTAINED:])
    if seen - reached >= GAP and np.nanmin(losses.value[-SUSTAINED:]) >= RISEN * losses.value[lowest]:
        yield of_network(
            "overfit",
            losses,
            lowest,
            f"the training accuracy is {percent(seen)}, that of the evaluations {percent(reached)}; their loss has "
            f"risen from {losses.value[lowest]:.3g} at epoch {losses.epoch[lowest]:.0f} to {losses.value[-1]:.3g}",
            "the network learns its training images by heart",
            "augment them (data.crop_padding, data.flip, data.mixup), raise optim.weight_decay or "
            "loss.label_smoothing, or end in time with guard.early_stop",
        )


def unfinished(history: History) -> Iterator[Alarm]:
    """The run has ended before its epochs, with a learning rate that was still to fall."""
    scores, lr, attempt = history.curves.get("validation/top1"), history.curves.get("lr"), history.attempt
    if scores is None or lr is None or attempt is None or not attempt.epochs:
        return
    done, share = scores.epoch[-1], lr.value[-1] / np.nanmax(lr.value)
    if done < attempt.epochs and UNFINISHED < share < 1.0 and int(np.nanargmax(lr.value)) < len(lr) - 1:
        yield of_network(
            "unfinished",
            scores,
            len(scores) - 1,
            f"it ended after {done:.0f} of {attempt.epochs} epochs, with {percent(share)} of its largest learning rate",
            "the accuracy of a schedule comes at its end, when the learning rate is small",
            f"train.epochs={done:.0f} is a run whose schedule ends there",
        )


def no_progress(history: History) -> Iterator[Alarm]:
    """The second half of the run has improved nothing."""
    scores = history.curves.get("validation/top1")
    if scores is None or len(scores) < EVALUATIONS:
        return
    reached, lost = _best(scores)
    if lost < LOST and scores.epoch[reached] <= HALF * scores.epoch[-1]:
        yield of_network(
            "no_progress",
            scores,
            reached,
            f"no more progress since epoch {scores.epoch[reached]:.0f} of {scores.epoch[-1]:.0f}",
            "the data are learnt, or the learning rate is too small to learn more",
            f"a shorter run may do as well: train.epochs={max(1.0, np.ceil(1.25 * scores.epoch[reached])):.0f}",
        )


def timesteps(history: History) -> Iterator[Alarm]:
    """Half of the timesteps, or fewer, decide nearly as well as all, and better than guessing does."""
    accuracy, classes = history.accuracy, history.classes
    if accuracy is None or accuracy.top1_by_step.shape[1] < 2:
        return
    newest = accuracy.top1_by_step[-1].tolist()
    if classes > 1 and newest[-1] <= chance_limit(classes):
        return
    needed, trained = timesteps_needed(newest), len(newest)
    if needed is not None and 2 * needed <= trained:
        give = "gives" if needed == 1 else "give"
        yield Alarm(
            "timesteps",
            "",
            int(accuracy.step[-1]),
            float(accuracy.epoch[-1]),
            f"{needed} of its {trained} timesteps {give} an accuracy within half a point of that of all",
            "the images need no more of them",
            f"method.timesteps={needed} may do as well, in less time and memory",
        )


def _best(scores: Curve) -> tuple[int, float]:
    """The evaluation with the best accuracy, and what the best of the last ones has less."""
    best = int(np.nanargmax(scores.value))
    return best, float(scores.value[best] - np.nanmax(scores.value[-SUSTAINED:]))
