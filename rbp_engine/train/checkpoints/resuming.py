"""Where a run goes on: from which checkpoint, whether exactly, and which events before it are lost."""

import time
from collections.abc import Callable

import torch

from rbp_engine.run.files import inside
from rbp_engine.run.files.event_reader import announced_checkpoint, read_events, read_last_events
from rbp_engine.run.files.events import Metrics, Validation
from rbp_engine.run.files.layout import RunDirectory, by_step
from rbp_engine.run.files.summary import Summary
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Checkpoint, Progress
from rbp_engine.train.errors import CheckpointError
from rbp_engine.train.ranks.distributed import Ranks

# How long to wait for a checkpoint that was saved: NFS and sshfs cache the contents of a folder, for half a minute.
SEEN_WITHIN_S = 60.0


def newest_checkpoint(
    run: RunDirectory, notify: Callable[[str], None], *, from_scratch: bool
) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to resume from, None at the first start, and a warning for each newer one that cannot be used.

    Waits for one that was saved and does not appear yet. Raises CheckpointError if it stays away, or if there are some
    and none can be used, unless the run may start over `from_scratch`.
    """
    checkpoint.remove_leftovers(run.checkpoints)
    announced = announced_checkpoint(run)
    lost = announced if announced and not _is_seen(run, announced, notify) else None
    newest, skipped = checkpoint.find_newest(run.checkpoints, announced)
    if not from_scratch:
        if lost and (newest is None or by_step(newest.path.name) < by_step(lost)):
            raise CheckpointError(
                f"{lost} was saved and is not in {run.checkpoints}: see whether its disk is mounted and whole, "
                "then resume. If it is lost, --from-scratch does without it: it resumes from "
                f"{newest.path.name if newest else 'no checkpoint, at epoch 1'}"
            )
        if skipped and newest is None:
            raise CheckpointError(
                f"no checkpoint can be used ({'; '.join(skipped)}): make one whole again, then resume; or resume with "
                "--from-scratch, which starts over at epoch 1"
            )
    return newest, [f"passed over a checkpoint: {sentence}" for sentence in skipped]


def _is_seen(run: RunDirectory, name: str, notify: Callable[[str], None]) -> bool:
    """Whether a checkpoint is there, or appears within SEEN_WITHIN_S."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    waits = False
    while not inside.exists(run.checkpoints / name, run.path):
        if time.monotonic() > deadline:
            return False
        if not waits:
            notify(f"waiting for {name}, which was saved and is not seen")
        waits = True
        time.sleep(0.5)
    return True


def why_inexact(saved: Checkpoint, ranks: Ranks, device: torch.device, summary: Summary, *, allowed: bool) -> list[str]:
    """Why the run will differ from one that was never interrupted, each reason a warning.

    Raises CheckpointError if the number of processes has changed and that is not `allowed`.
    """
    why = []
    if saved.world_size != ranks.size:
        if not allowed:
            raise CheckpointError(
                f"{saved.path.name} is of {saved.world_size} processes, and {ranks.size} cannot go on exactly where "
                f"they were: use --nproc {saved.world_size}, or allow it with --inexact"
            )
        why.append(
            f"trained by {saved.world_size} processes so far, by {ranks.size} from here on: it is not what it would "
            "have been"
        )
    if saved.device not in ("", device.type):
        why.append(
            f"{device.type} goes on where {saved.device} was: they round differently, and the run is not what it "
            "would have been"
        )
    if summary.origin and saved.experiment != summary.experiment:  # it has been given more epochs since
        why.append(
            f"trained on from epoch {saved.progress.epoch} to {summary.epochs} with the learning rates of "
            f"{summary.epochs} epochs, after those of a shorter run: it is not what either would have been"
        )
    return why


def find_gap(run: RunDirectory, at: Progress, window_steps: int) -> int | None:
    """The step after which events of rank 0 up to `at` are missing; None if none are.

    A power loss destroys what had not reached the disk. There are metrics once every `window_steps` steps, and an
    evaluation after every epoch.
    """
    step = 0
    for read in (read_last_events, read_events):  # events beyond `at` may fill the end of the file
        events = read(run.events())
        steps = [event.step for event in events if isinstance(event.body, Metrics) and event.step <= at.step]
        epochs = [event.body.epoch for event in events if isinstance(event.body, Validation)]
        step = max(steps, default=0)
        if step >= at.step - at.step % window_steps and (not at.epoch or at.epoch in epochs):
            return None
    return step
