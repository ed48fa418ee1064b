"""Entry point of a training process: `python -m rbp_engine.train.worker <run>`."""

import contextlib
import os
import signal
import socket
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rbp_engine.run.events import RunStart, WarningRaised
from rbp_engine.run.evidence import first_error
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.summary import read_summary
from rbp_engine.train.failures import describe
from rbp_engine.train.journal import Journal
from rbp_engine.train.process import Process, end_with_parent
from rbp_engine.train.signals import StopFlag

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.train.distributed import Ranks

EXIT_CODES = {"completed": 0, "failed": 1, "stopped": 4, "preempted": 4}
# Whoever starts an attempt sets the number of it, and whether another number of processes may go on with a checkpoint.
ATTEMPT = "RBP_ATTEMPT"
INEXACT = "RBP_INEXACT"


def main(folder: str) -> int:
    """Run one attempt of the run in `folder` and write down how it ended; the exit code says it once more."""
    run = RunDirectory(Path(folder).resolve())
    process = Process.of(run)
    if process.world_size > 1:
        end_with_parent(run)
    stop = StopFlag(run)
    stop.install()
    summary = read_summary(run)
    if summary is None:
        sys.stderr.write(f"{run.summary_json} is missing or damaged\n")
        return EXIT_CODES["failed"]
    journal = Journal(run, summary, int(os.environ.get(ATTEMPT, "1")), process)
    preset: Preset | None = None
    try:
        from rbp_engine.preset import read_resolved

        preset = read_resolved(run.preset_toml)
        status, ranks = run_attempt(run, preset, journal, stop, process)
        journal.end(status, "" if status == "completed" else f"{stop.reason(status)}, saved at step {summary.step}")
    except BaseException as error:
        told = traceback.format_exc()
        if process.world_size > 1:
            _end_as_one_of_many(run, journal, error, told, describe(error, preset, process.world_size))
        journal.end("failed", describe(error, preset), told)  # first: on a full disk there may be no room for both
        with contextlib.suppress(OSError):
            sys.stderr.write(told)
        return EXIT_CODES["failed"]
    ranks.leave()
    if process.world_size > 1:
        _tell_launcher(process, status, stop)
        return 0  # anything else is a failure to torchrun
    return EXIT_CODES[status]


def _end_as_one_of_many(run: RunDirectory, journal: Journal, error: BaseException, told: str, reason: str) -> NoReturn:
    """Leave a word that readers can trust, and go at once: the others are waiting for us, or gone."""
    from rbp_engine.train.distributed import is_about_others

    if is_about_others(error) or first_error(run, journal.attempt) is not None:
        journal.leave(f"lost the other processes: {reason.splitlines()[0]}")
    else:
        journal.end("failed", reason, told)
        from torch.distributed.elastic.multiprocessing.errors import ErrorHandler

        with contextlib.suppress(OSError):
            ErrorHandler().record_exception(error)
    with contextlib.suppress(OSError):
        sys.stderr.write(told)
        sys.stdout.flush()
        sys.stderr.flush()
    # Not through the interpreter's end, which waits for communication that will never come.
    os._exit(EXIT_CODES["failed"])


def _tell_launcher(process: Process, status: str, stop: StopFlag) -> None:
    """Where only another node was signalled, this node's launcher would wait minutes for that one's."""
    if status == "preempted" and stop.signal is None and process.nodes > 1 and process.local_rank == 0:
        os.kill(os.getppid(), signal.SIGTERM)


def run_attempt(
    run: RunDirectory, preset: "Preset", journal: Journal, stop: StopFlag, process: Process
) -> tuple[str, "Ranks"]:
    """Build everything from the run's preset, go on from the newest checkpoint if there is one, and train.

    Returns the status that it has ended with, and the ranks to take leave of.
    """
    from rbp_engine.preset import parse_checkpoint_every

    # From here on torch: the journal has been beating while it loads.
    from rbp_engine.train import checkpoint
    from rbp_engine.train.assembly import build_feed, build_method, build_model, build_optimizer
    from rbp_engine.train.checkpointer import Checkpointer
    from rbp_engine.train.device import choose_device, describe_device
    from rbp_engine.train.distributed import join
    from rbp_engine.train.memory import MemoryGauge
    from rbp_engine.train.optimisation import learning_rate
    from rbp_engine.train.recorder import Recorder
    from rbp_engine.train.step import OptimizerStep
    from rbp_engine.train.tensorboard import Board, TensorBoardLog
    from rbp_engine.train.trainer import report_test, train

    first = process.rank == 0
    device = choose_device(preset.run.device, process.local_rank if process.world_size > 1 else None)
    ranks = join(process, device)
    seed_everything(preset.run.seed)
    feed = build_feed(run, preset, device, rank=ranks.rank, world_size=ranks.size)
    model = build_model(run, preset, feed, device)
    if preset.train.sync_bn:
        ranks.synchronise_batch_norm(model)
    method = build_method(preset)
    optimizer = build_optimizer(preset, model)
    seed_rank(preset.run.seed, ranks.rank)

    if first:
        checkpoint.remove_leftovers(run.checkpoints)
    found, skipped = ranks.from_first(lambda: checkpoint.find_newest(run.checkpoints))
    exact = found is None or found.world_size == ranks.size
    if found and not exact and not os.environ.get(INEXACT):
        raise checkpoint.CheckpointError(
            f"{found.path.name} is of {found.world_size} processes, and {ranks.size} cannot go on exactly where they "
            f"were: use --nproc {found.world_size}, or allow it with --inexact"
        )
    at = found.progress if found else checkpoint.Progress()
    board = TensorBoardLog(run.tensorboard, purge_step=at.step + 1) if first else Board()
    recorder = Recorder(journal, MemoryGauge(device), board, preset.train.log_every, device, ranks)
    if found:
        recorder.restore(checkpoint.load(found, model, optimizer, ranks.rank), at)
        if first and at.position == 0 and journal.summary.best.get("epoch") == at.epoch:
            checkpoint.keep_as_best(found)  # a kill may have come between the checkpoint and its copy
    else:
        recorder.reset()
    journal.write(
        RunStart(
            resumed_from=found.path.name if found else None,
            exact=exact,
            world_size=ranks.size,
            device=describe_device(device),
            host=socket.gethostname(),
            steps_per_epoch=len(feed.train),
            epochs=preset.train.epochs,
            epoch=at.epoch,
            logs=str(process.logs.relative_to(run.path)),
        )
    )
    journal.say(f"{f'resumed from {found.path.name}' if found else 'started'} on {describe_device(device)}")
    warnings = [f"passed over a checkpoint: {sentence}" for sentence in skipped]
    if found and not exact:
        warnings.append(f"{ranks.size} processes go on where {found.world_size} were: not exactly as they would have")
    for warning in warnings if first else ():
        journal.write(WarningRaised(warning))
        journal.say(warning)
    journal.update(status="running", reason="", steps=len(feed.train) * preset.train.epochs)
    journal.progress()
    status = train(
        OptimizerStep(
            model,
            method,
            optimizer,
            ranks,
            accumulate=preset.train.accumulate,
            clip_norm=preset.optim.clip_norm,
        ),
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
            ranks=ranks,
        ),
        stop,
        epochs=preset.train.epochs,
        at=at,
    )
    if status == "completed" and feed.test is not feed.validation:
        best = ranks.from_first(lambda: checkpoint.find_best(run.checkpoints))
        report_test(model, method, feed.test, recorder, best)
    board.close()
    return status, ranks


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch; order and augmentation of the data have seeds of their own."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_rank(seed: int, rank: int) -> None:
    """Have each rank draw its own dropout: the ranks draw the same weights, and from then on other numbers."""
    import numpy as np

    if rank:
        seed_everything(int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)[0] >> 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
