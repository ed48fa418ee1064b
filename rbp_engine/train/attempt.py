"""One attempt of a run: build everything, load the newest checkpoint if there is one, and train."""

import socket
from contextlib import ExitStack
from dataclasses import replace

from torch import nn

from rbp_engine.data.loading.source import EvaluationBatches
from rbp_engine.data.loading.workers import cores_of_a_rank, too_many, unused
from rbp_engine.guard.alert_rule import parse_alert
from rbp_engine.guard.early_stop import EarlyStop
from rbp_engine.preset import parse_checkpoint_every
from rbp_engine.preset.schema import Preset
from rbp_engine.printable import one_line, visible
from rbp_engine.probes.layers import names_for_people, neuron_layers, weight_layers
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.attempts import Asked, load_attempt
from rbp_engine.run.files.energy import write_energy
from rbp_engine.run.files.events import ReachedSoFar, RunStart, WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.phase import Phase
from rbp_engine.train.build import build_feed, choose_kernel
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Checkpoint, Progress
from rbp_engine.train.checkpoints.checkpointer import Checkpointer
from rbp_engine.train.checkpoints.recipe import Recipe
from rbp_engine.train.checkpoints.resuming import find_gap, newest_checkpoint, why_inexact
from rbp_engine.train.device import choose_device, describe_device
from rbp_engine.train.errors import Superseded
from rbp_engine.train.limits import ending, read_limits
from rbp_engine.train.memory import MemoryGauge, memory_of
from rbp_engine.train.ranks.distributed import Ranks, join
from rbp_engine.train.ranks.failures import Ending
from rbp_engine.train.ranks.process import RankProcess
from rbp_engine.train.ranks.seeding import seed_everything, seed_rank
from rbp_engine.train.ranks.signals import StopFlag
from rbp_engine.train.record.alert_watch import AlertWatch
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.recorder import Recorder
from rbp_engine.train.record.tensorboard import TensorBoardLog
from rbp_engine.train.session import TrainingSession
from rbp_engine.train.trainer import report_test, train


def run_attempt(
    run: RunDirectory, preset: Preset, journal: Journal, stop: StopFlag, process: RankProcess
) -> tuple[Ending, Ranks]:
    """Run the attempt. Returns how training ended, and the ranks, which the caller has to leave."""
    with ExitStack() as cleanup:  # also after an exception
        return _run_attempt(run, preset, journal, stop, process, cleanup)


def _steps_of_budget(preset: Preset, steps_per_epoch: int) -> int | None:
    """The steps of the whole run, where its budget ends it before its epochs do."""
    budget = preset.guard.max_steps
    return budget if 0 < budget < preset.train.epochs * steps_per_epoch else None


def _run_attempt(
    run: RunDirectory, preset: Preset, journal: Journal, stop: StopFlag, process: RankProcess, cleanup: ExitStack
) -> tuple[Ending, Ranks]:
    device = choose_device(preset.run.device, process.local_rank if process.world_size > 1 else None)
    seed_everything(preset.run.seed)
    journal.update(phase=Phase.DATA)
    feed = build_feed(run, preset, device, rank=process.rank, world_size=process.world_size)
    feed.loader.start()  # before torch.distributed starts threads in this process
    if process.world_size > 1:
        journal.update(phase=Phase.PROCESSES)
    ranks = join(process, device)
    journal.update(phase=Phase.NETWORK)
    first = ranks.rank == 0
    # On another node the record may not be visible yet.
    asked: Asked = ranks.from_first(lambda: load_attempt(run, journal.attempt))
    notify = journal.say if first else lambda text: None
    resumed, warnings = ranks.from_first(lambda: newest_checkpoint(run, notify, from_scratch=asked.from_scratch))
    session = TrainingSession(run, preset, feed, device, ranks, notify, loaded=resumed is not None)
    state, step = session.state, session.step
    seed_rank(preset.run.seed, ranks.rank)

    at = resumed.progress if resumed else Progress()
    kernel, uncompiled = choose_kernel(preset, len(feed.train), device)
    warnings += uncompiled + list(feed.notes)
    readers = preset.data.workers
    warnings += too_many(readers, cores_of_a_rank()) if feed.loader.workers else unused(readers)
    board = TensorBoardLog(run.tensorboard, purge_step=at.step + 1) if first else None
    cleanup.push(lambda kind, error, trace: board.close() if board and kind is not Superseded else None)
    early_stop = EarlyStop(preset.guard.early_stop, preset.guard.early_stop_delta)
    recorder = Recorder(
        journal,
        MemoryGauge(device),
        board,
        preset.train.log_every,
        ranks,
        session.probes() if first else Probes(),
        compiles=kernel == "compiled",
        early_stop=early_stop,
    )
    inexact = why_inexact(resumed, ranks, device, journal.summary, allowed=asked.inexact) if resumed else []
    warnings += inexact
    reached = ReachedSoFar()
    if resumed:
        reached = recorder.restore(checkpoint.load(resumed, state, ranks.rank))
        # A kill or a power loss may have left it incomplete.
        if first and (best := reached.best.epoch) is not None:
            warnings += filter(None, [checkpoint.repair_best(run.checkpoints, best)])
    elif (lost := journal.summary.step) and not asked.from_scratch:
        warnings.append(f"starts again at epoch 1: no checkpoint was saved in the {lost} steps before")
    sample_every = min(preset.train.log_every, len(feed.train) * preset.train.epochs)
    gap_from = find_gap(run, at, sample_every) if first else None
    if gap_from is not None:
        warnings.append(
            f"events between step {gap_from} and the checkpoint of step {at.step} are lost: curves have a gap there"
        )
    limits = read_limits(run, preset.guard, early_stop, first=first)
    _write_start(session, journal, process, resumed, gap_from, reached, exact=not inexact)
    if first:
        rules = [parse_alert(text) for text in preset.guard.alerts]
        journal.alerts = AlertWatch(rules, memory_of(device), feed.validation.split)
    for warning in warnings if first else ():
        journal.write(WarningRaised(visible(warning)))
        journal.say(warning)
    journal.update(phase=Phase.FIRST_BATCH)
    journal.progress()

    checkpointer = Checkpointer(
        run,
        state,
        recorder,
        every=parse_checkpoint_every(preset.train.checkpoint_every),
        experiment=journal.summary.experiment,
        ranks=ranks,
        metadata=Recipe(preset, feed.classes, feed.preprocess).as_metadata(),
    )
    status = train(
        step,
        feed.train,
        feed.validation,
        lambda now: session.schedule(now.epoch, now.step),
        recorder,
        checkpointer,
        stop,
        epochs=preset.train.epochs,
        at=at,
        limits=limits,
    )
    if status == "completed":
        _judge(session, journal, recorder)
    feed.loader.stop()
    return ending(status, journal.summary.epoch, preset.train.epochs, preset.guard, limits, stop), ranks


def _judge(session: TrainingSession, journal: Journal, recorder: Recorder) -> None:
    """Measure a trained network: its energy, and its accuracy on a test set that did not choose it."""
    run, feed, ranks = session.run, session.feed, session.step.ranks
    if session.preset.probes.energy and ranks.rank == 0:
        journal.update(phase=Phase.EVALUATING)
        record_energy(run, journal, session.state.model, feed.validation, session.preset.method.timesteps)
    if feed.test is not feed.validation:
        journal.update(phase=Phase.EVALUATING)
        best = ranks.from_first(lambda: checkpoint.find_best(run.checkpoints))
        report_test(session.step, feed.test, recorder, best)


def record_energy(
    run: RunDirectory, journal: Journal, model: nn.Module, images: EvaluationBatches, timesteps: int
) -> None:
    """Write `energy.json`, from the first images; a failure to measure it is only a warning."""
    try:
        from rbp_engine.probes.energy import measure_energy  # its counters take seconds to import

        batch = next(iter(images), None)
        if batch is not None:
            write_energy(run, replace(measure_energy(model, batch[0], timesteps), step=journal.summary.step))
    except Exception as error:  # the run is complete, and a user's network may do anything
        what = f"the energy of the network was not measured: {type(error).__name__}: {error}"
        journal.write(WarningRaised(visible(what)))
        journal.say(what)


def _write_start(
    session: TrainingSession,
    journal: Journal,
    process: RankProcess,
    resumed: Checkpoint | None,
    gap_from: int | None,
    reached: ReachedSoFar,
    *,
    exact: bool,
) -> None:
    at, preset, feed = resumed.progress if resumed else Progress(), session.preset, session.feed
    device, model = session.device, session.state.model
    journal.write(
        RunStart(
            resumed_from=one_line(resumed.path.name) if resumed else None,
            exact=exact,
            world_size=process.world_size,
            device=one_line(describe_device(device)),
            host=one_line(socket.gethostname()),
            steps_per_epoch=len(feed.train),
            samples_per_epoch=min(feed.train.count, len(feed.train) * feed.train.cut.batch_size),
            samples_per_step=feed.train.cut.batch_size,
            steps=_steps_of_budget(preset, len(feed.train)),
            epochs=preset.train.epochs,
            epoch=at.epoch,
            logs=one_line(str(process.logs.relative_to(session.run.path))),
            gap_from=gap_from,
            neuron_layers=list(map(one_line, names_for_people(model, neuron_layers(model)).values())),
            weight_layers=list(map(one_line, names_for_people(model, weight_layers(model)).values())),
            method=one_line(preset.method.name),
            classes=feed.classes,
            memory=memory_of(device),
            split=one_line(feed.validation.split),
            reached=reached,
        ),
        at.step,
    )
    journal.say(f"{f'resumed from {resumed.path.name}' if resumed else 'started'} on {describe_device(device)}")
