"""Entry point of a training process: `python -m rbp_engine.train.worker <run>`."""

import contextlib
import errno
import os
import socket
import sys
import traceback
from functools import partial
from pathlib import Path

from rbp_engine.run.events import RunStart, WarningRaised
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.summary import read_summary
from rbp_engine.train.journal import Journal
from rbp_engine.train.signals import StopFlag

EXIT_CODES = {"completed": 0, "failed": 1, "stopped": 4, "preempted": 4}


def main(folder: str) -> int:
    """Run one attempt of the run in `folder` and write down how it ended; the exit code says it once more."""
    run = RunDirectory(Path(folder).resolve())
    stop = StopFlag(run)
    stop.install()
    summary = read_summary(run)
    if summary is None:
        sys.stderr.write(f"{run.summary_json} is missing or damaged\n")
        return EXIT_CODES["failed"]
    journal = Journal(run, summary, attempt=int(os.environ.get("RBP_ATTEMPT", "1")))
    try:
        status = run_attempt(run, journal, stop)
        reason = "" if status == "completed" else f"{stop.reason}, saved at step {summary.step}"
        journal.end(status, reason)
    except BaseException as error:
        status = "failed"
        told = traceback.format_exc()
        journal.end(status, describe(error), told)  # first: on a full disk there may be no room for both
        with contextlib.suppress(OSError):
            sys.stderr.write(told)
    return EXIT_CODES[status]


def run_attempt(run: RunDirectory, journal: Journal, stop: StopFlag) -> str:
    """Build everything from the run's preset, go on from the newest checkpoint if there is one, and train."""
    from rbp_engine.preset import parse_checkpoint_every, read_resolved

    preset = read_resolved(run.preset_toml)

    # From here on torch: the journal has been beating while it loads.
    from rbp_engine.train import checkpoint
    from rbp_engine.train.assembly import build_feed, build_method, build_model, build_optimizer
    from rbp_engine.train.checkpointer import Checkpointer
    from rbp_engine.train.device import choose_device, describe_device
    from rbp_engine.train.memory import MemoryGauge
    from rbp_engine.train.optimisation import learning_rate
    from rbp_engine.train.recorder import Recorder
    from rbp_engine.train.tensorboard import TensorBoardLog
    from rbp_engine.train.trainer import report_test, train

    device = choose_device(preset.run.device)
    seed_everything(preset.run.seed)
    feed = build_feed(run, preset, device)
    model = build_model(run, preset, feed, device)
    method = build_method(preset)
    optimizer = build_optimizer(preset, model)

    checkpoint.remove_leftovers(run.checkpoints)
    found, skipped = checkpoint.find_newest(run.checkpoints)
    at = found.progress if found else checkpoint.Progress()
    board = TensorBoardLog(run.tensorboard, purge_step=at.step + 1)
    recorder = Recorder(journal, MemoryGauge(device), board, preset.train.log_every, device)
    if found:
        recorder.restore(checkpoint.load(found, model, optimizer), at)
        if at.position == 0 and journal.summary.best.get("epoch") == at.epoch:
            checkpoint.keep_as_best(found)  # a kill may have come between the checkpoint and its copy
    else:
        recorder.reset()
    journal.write(
        RunStart(
            resumed_from=found.path.name if found else None,
            device=describe_device(device),
            host=socket.gethostname(),
            steps_per_epoch=len(feed.train),
            epochs=preset.train.epochs,
            epoch=at.epoch,
        )
    )
    journal.say(f"{f'resumed from {found.path.name}' if found else 'started'} on {describe_device(device)}")
    for sentence in skipped:
        journal.write(WarningRaised(f"passed over a checkpoint: {sentence}"))
        journal.say(f"passed over a checkpoint: {sentence}")
    journal.update(status="running", reason="", steps=len(feed.train) * preset.train.epochs)
    status = train(
        model,
        method,
        optimizer,
        feed.train,
        feed.validation,
        partial(
            learning_rate,
            lr=preset.optim.lr,
            epochs=preset.train.epochs,
            schedule=preset.optim.schedule,
            warmup_epochs=preset.optim.warmup_epochs,
        ),
        recorder,
        Checkpointer(
            run,
            model,
            optimizer,
            recorder,
            every=parse_checkpoint_every(preset.train.checkpoint_every),
            experiment=journal.summary.experiment,
        ),
        stop,
        epochs=preset.train.epochs,
        at=at,
    )
    if status == "completed" and feed.test is not feed.validation:
        report_test(model, method, feed.test, recorder, checkpoint.find_best(run.checkpoints))
    board.close()
    return status


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch; order and augmentation of the data have seeds of their own."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def describe(error: BaseException) -> str:
    """One sentence on what ended the run, with a way on where there is one."""
    name = type(error).__name__
    if name == "NonFiniteLoss":
        return f"{error}; the last checkpoint is good. Try a lower optim.lr or warm-up, then resume or start again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the device of the runs directory; make room, then resume"
    text = str(error).strip()
    return f"{name}: {text}" if text else name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
