"""Rules about a run that has ended: what its accuracy, schedule and length, and the time and memory that it has taken,
say about the next one.

Accuracies differ from evaluation to evaluation, so the end of a run is the best of its last three.
"""

from collections.abc import Iterator

import numpy as np

from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History
from rbp_engine.run.history.rules.rule import SUSTAINED, Alarm, alarm, mean_over_epoch, percent
from rbp_engine.run.history.rules.training import chance_limit
from rbp_engine.run.timesteps_needed import timesteps_needed

#: The accuracy that a run has lost since its best epoch. The presets' runs lose a quarter of that at most.
LOST = 0.01
#: What a run that still learns gains in its last evaluation.
GAINED = 0.02
#: The training accuracy above that of the evaluations, where the loss of these has risen by a part. Networks that fit
#: their training set have such a gap and are well as long as the loss does not rise.
GAP, RISEN = 0.1, 1.2
#: The share of the largest learning rate with which a schedule is not at its end yet.
UNFINISHED = 0.1
#: What is no progress: the best epoch is in the first half of the run, of so many evaluations at least.
HALF, EVALUATIONS = 0.5, 10
#: So many evaluations, and a network has learnt enough to be judged by its timesteps.
LEARNT = 3


def decline(history: History) -> Iterator[Alarm]:
    """The accuracy has fallen since its best epoch, and that of training with it."""
    scores, training = history.curves.get("validation/top1"), history.curves.get("train/top1")
    if scores is None or training is None or len(scores) <= SUSTAINED:
        return
    best, lost = _best(scores)
    seen = mean_over_epoch(training)
    if lost >= LOST and seen[-1] < np.interp(scores.step[best], training.step, seen):
        yield alarm(
            "decline",
            scores,
            best,
            f"best at epoch {scores.epoch[best]:.0f} with {percent(scores.value[best])}, the last {SUSTAINED} at least "
            f"{100.0 * lost:.1f} points lower, and the training accuracy fell as well",
            "a learning rate that is too high at the end of the run",
            "lower optim.lr, or let it fall to the end (optim.schedule=cosine)",
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
        yield alarm(
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
    """The run ended before its epochs, with a learning rate that was still to fall, or had too few for it to fall."""
    scores, lr, attempt = history.curves.get("validation/top1"), history.curves.get("lr"), history.attempt
    if scores is None or lr is None or attempt is None or not attempt.begun.epochs:
        return
    done, share = _trained(history, scores), lr.value[-1] / np.nanmax(lr.value)
    if done < attempt.begun.epochs and UNFINISHED < share < 1.0 and int(np.nanargmax(lr.value)) < len(lr) - 1:
        yield alarm(
            "unfinished",
            scores,
            len(scores) - 1,
            f"it ended after {done:.0f} of {attempt.begun.epochs} epochs, and at step {lr.step[-1]:.0f} its learning "
            f"rate was {percent(share)} of its largest",
            "the accuracy of a schedule comes at its end, when the learning rate is small",
            f"let it go on to its end, or train one of train.epochs={done:.0f}, whose schedule ends there",
        )
    elif done == attempt.begun.epochs == 1 and len(lr) > 1 and share == 1.0:
        yield alarm(
            "unfinished",
            scores,
            0,
            "its learning rate never fell: a schedule by epoch does so between epochs, and it had one",
            "the accuracy of a schedule comes at its end, when the learning rate is small",
            "let it fall with each step (optim.schedule_by=step), or train more epochs",
        )


def improving(history: History) -> Iterator[Alarm]:
    """The last evaluation is better than all before it, by more than chance makes of a small test set."""
    scores = history.curves.get("validation/top1")
    if scores is None or len(scores) < 2:
        return
    gain = scores.value[-1] - np.nanmax(scores.value[:-1])
    attempt, done = history.attempt, _trained(history, scores)
    epochs = (attempt.begun.epochs if attempt is not None else None) or 0
    if gain >= GAINED:
        yield alarm(
            "improving",
            scores,
            len(scores) - 1,
            f"it was still learning: its last evaluation is {100 * gain:.1f} points better than all before it",
            f"it ended after {done:.0f} of {epochs} epochs" if done < epochs else "it had too few epochs",
            "let it go on to its end" if done < epochs else f"train it for longer (epochs={2 * done:.0f})",
        )


def no_progress(history: History) -> Iterator[Alarm]:
    """The second half of the run has improved nothing; of one that did not come to its end, that says little."""
    scores, attempt = history.curves.get("validation/top1"), history.attempt
    if scores is None or len(scores) < EVALUATIONS:
        return
    if attempt is not None and _trained(history, scores) < (attempt.begun.epochs or 0):
        return
    reached, lost = _best(scores)
    if lost < LOST and scores.epoch[reached] <= HALF * scores.epoch[-1]:
        yield alarm(
            "no_progress",
            scores,
            reached,
            f"no more progress since epoch {scores.epoch[reached]:.0f} of {scores.epoch[-1]:.0f}",
            "the data are learnt, or the learning rate is too small to learn more",
            f"a shorter run may do as well: train.epochs={max(1.0, np.ceil(1.25 * scores.epoch[reached])):.0f}",
        )


def timesteps(history: History) -> Iterator[Alarm]:
    """Half of the timesteps, or fewer, decide nearly as well as all, and better than guessing does.

    The first evaluations say nothing of it: a network that has hardly learnt is as bad at every timestep.
    """
    accuracy, classes = history.accuracy, history.classes
    if accuracy is None or accuracy.top1_by_step.shape[1] < 2 or len(accuracy.step) < LEARNT:
        return
    newest = accuracy.top1_by_step[-1].tolist()
    if classes > 1 and newest[-1] <= chance_limit(classes):
        return
    needed, trained = timesteps_needed(newest), len(newest)
    if needed is not None and 2 * needed <= trained:
        give = "gives" if needed == 1 else "give"
        yield alarm(
            "timesteps",
            accuracy,
            -1,
            f"{needed} of its {trained} timesteps {give} an accuracy within half a point of that of all",
            "the images need no more of them",
            f"method.timesteps={needed} may do as well, in less time and memory",
        )


def _trained(history: History, scores: Curve) -> float:
    """The epochs that are trained: another program need not evaluate the last."""
    return max(float(scores.epoch[-1]), history.metrics.epoch if history.metrics is not None else 0.0)


def _best(scores: Curve) -> tuple[int, float]:
    """The evaluation with the best accuracy, and what the best of the last ones has less."""
    best = int(np.nanargmax(scores.value))
    return best, float(scores.value[best] - np.nanmax(scores.value[-SUSTAINED:]))


#: The share of a step that it waits for its data. With data in memory it is 1 to 5 %.
LONGEST_WAIT = 0.3
#: The share of the memory of a card that is in use at the peak: a larger batch does not fit, nor other processes.
MOST_MEMORY = 0.9
#: What a process waits for its data longer than the others, as a share of a step, and by how much a factor.
SKEW, FACTOR = 0.15, 1.5


def input_bound(history: History) -> Iterator[Alarm]:
    """Steps wait for their data."""
    steps, waits = history.curves.get("step_ms"), history.curves.get("data_ms")
    if steps is None or waits is None or len(steps) < SUSTAINED:
        return
    whole, waited = _settled(steps), _settled(waits)
    if waited >= LONGEST_WAIT * whole > 0.0:
        yield alarm(
            "input",
            waits,
            0,
            f"input-bound: data take {percent(waited / whole)} of a step, {waited:.0f} of {whole:.0f} ms",
            "images are read or augmented more slowly than they are learnt from",
            "raise data.workers (auto takes all cores), augment with data.augment_backend=batched, or copy the data to "
            "a faster disk",
        )


def memory(history: History) -> Iterator[Alarm]:
    """The peak of a process is close to the memory that there is."""
    attempt, peaks = history.attempt, _by_rank(history, "mem_peak")
    if attempt is None or not attempt.begun.memory or not peaks:
        return
    rank, peak = max(((rank, np.nanmax(curve.value)) for rank, curve in peaks.items()), key=lambda found: found[1])
    if peak >= MOST_MEMORY * attempt.begun.memory:
        at = int(np.nanargmax(peaks[rank].value))
        yield alarm(
            "memory",
            peaks[rank],
            at,
            f"memory: {percent(peak / attempt.begun.memory)} of what there is at the peak"
            f"{f', in process {rank}' if rank else ''}",
            "the batch, the timesteps and the network fill it",
            "train.accumulate=2 halves what a step holds; a larger batch, network or T will not fit",
        )


def ranks(history: History) -> Iterator[Alarm]:
    """One process waits for its data longer than the others, and all wait for it."""
    waits = {rank: _settled(curve) for rank, curve in _by_rank(history, "rank_data_ms").items()}
    steps = history.curves.get("step_ms")
    if len(waits) < 2 or steps is None or len(steps) < SUSTAINED:
        return
    slowest = max(waits, key=lambda rank: waits[rank])
    others = float(np.median([wait for rank, wait in waits.items() if rank != slowest]))
    if waits[slowest] - others >= SKEW * _settled(steps) and waits[slowest] >= FACTOR * others:
        yield alarm(
            "ranks",
            steps,
            0,
            f"process {slowest} waits {waits[slowest]:.0f} ms a step for its data, the others {others:.0f}: in each "
            f"step of {_settled(steps):.0f} ms all wait for it",
            "another job on its cores, or a slower disk on its host",
            "give each process cores of its own, and as many data.workers as cores; rbp watch shows each process",
        )


def _settled(curve: Curve) -> float:
    """The mean over the second half: the first steps compile, and start processes that read."""
    half = curve.value[len(curve) // 2 :]
    return float(np.nanmean(half)) if np.isfinite(half).any() else 0.0


def _by_rank(history: History, name: str) -> dict[int, Curve]:
    """The curve of each process that has one."""
    curves = {process.rank: history.curves.get(f"{name}/{process.rank}" if process.rank else name)
              for process in history.processes}  # fmt: skip
    return {rank: curve for rank, curve in curves.items() if curve is not None}
