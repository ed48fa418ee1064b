"""Create a run and start it: a worker, or a launcher of several, in its own session, so that it outlives its parent."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import BinaryIO

from rbp_engine import os_process
from rbp_engine.os_process import Alive
from rbp_engine.preset.own_code import all_files, inside_a_run, names_of_code
from rbp_engine.run import trust
from rbp_engine.run.errors import NothingToStart, RunError, cannot
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import (
    Asked,
    AttemptRecord,
    claim_attempt,
    launched,
    load_attempt,
    newest_attempt,
    record_process,
    withdraw_claim,
)
from rbp_engine.run.files.layout import RunDirectory, new_run_id, read_json, refuse_links, write_atomic, write_json
from rbp_engine.run.files.run_json import Resources, SweepRecord
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import making, multinode
from rbp_engine.run.launch.environment import TO_THE_LAST_BIT, worker_defaults
from rbp_engine.run.launch.held_signals import signals_held
from rbp_engine.run.launch.torchrun import launcher_log, torchrun_environment, worker_command
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import LOST_AFTER_S, judge, record_verdict
from rbp_engine.run.teacher import copy_teacher
from rbp_engine.run.writer import write_run


def create(
    loaded: trust.TrustedPreset,
    runs: Path,
    *,
    run_id: str | None = None,
    command: Sequence[str] = (),
    asked: Asked | None = None,
    sweep: SweepRecord | None = None,
) -> trust.Launchable:
    """Create the folder of a new run: preset, identity and summary. Leaves nothing behind if that fails.

    `asked` is how its attempts are asked for, and `sweep` the one that it belongs to.

    Raises Taken for an id that is in use, RunError for a malformed one or a runs directory that cannot be written.
    """
    from rbp_engine.preset.resolved import as_toml

    preset, how = loaded.preset, asked or Asked()

    def write(run: RunDirectory, named: str) -> None:
        for name, source in all_files(loaded.own_code).items():
            (run.code / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(run.code / name, source)
        if loaded.teacher is not None:
            copy_teacher(loaded.teacher, run)
        settings = preset.model_dump(exclude_none=True)
        for (section, field), value in names_of_code(preset).items():  # the worker reads the run's copies
            settings[section][field] = inside_a_run(value)
        write_run(
            run,
            as_toml(settings),
            settings,
            command,
            id=named,
            preset=loaded.name,
            label=loaded.label,
            experiment=loaded.experiment,
            method=preset.method.name,
            timesteps=preset.method.timesteps,
            seed=preset.run.seed,
            epochs=preset.train.epochs,
            name=preset.run.name,
            tags=list(preset.run.tags),
            source=str(loaded.path),
            created=time.time(),
            resources=asdict(how.resources),
            dispatch=asdict(how.dispatch),
            sweep=asdict(sweep) if sweep else None,
        )
        trust.remember(run, how.resources)

    made = making.make_run(runs, run_id, lambda: new_run_id(loaded.name, preset.method.name), write)
    return trust.Launchable(trust.Executable(made))


def environment(run: RunDirectory, processes_here: int, attempt: int) -> dict[str, str]:
    """The environment of each of so many workers on this machine: that of this process plus the run's marker, over
    defaults for what is not set."""
    ours = {"PYTHONUNBUFFERED": "1", "RBP_ATTEMPT": str(attempt)}
    return worker_defaults(processes_here) | os.environ | processes.marker(run) | ours


def start(
    run: trust.Launchable,
    asked: Asked | None = None,
    *,
    leave_s: float | None = None,
    inherits: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start the next attempt of a run, the first or a resume from the newest checkpoint.

    It is as last time unless it is `asked` for otherwise. Of several nodes, the first to call this starts the attempt
    and the others join it. The processes of a run that has ended have `leave_s` to leave, by default
    `processes.LEAVE_S`. The process `inherits` these descriptors.

    Raises NothingToStart if the run is live, complete, or just being started by another process, Taken if it has
    processes left, and another RunError if it cannot be started or its folders contain links.
    """
    asked = asked or launched(run)
    resources = asked.resources
    refuse_links(run)
    check_world_size(run, resources, inexact=asked.inexact)
    words = worker_command(run, resources)
    joined = multinode.join(run, resources.nodes)
    attempt, node = joined or (_free_attempt(run, leave_s), 0)
    variables = environment(run, resources.processes, attempt)
    if joined is None:
        record = AttemptRecord(
            attempt,
            starter=os_process.here(),
            t=time.time(),
            stderr_from=run.stderr().stat().st_size if run.stderr().is_file() else 0,
            command=words,
            environment={name: variables[name] for name in TO_THE_LAST_BIT if name in variables},
            **{one.name: getattr(asked, one.name) for one in fields(Asked)},
        )
        try:
            claim_attempt(run, record)
        except FileExistsError:
            raise NothingToStart(f"{run.id} is being started by somebody else at this moment") from None
        except OSError as error:
            raise RunError(f"cannot start {run.id}: {error}") from error
        if resources.nodes > 1:
            multinode.take_seat(run, attempt, resources.nodes)
    worker: subprocess.Popen[bytes] | None = None
    try:
        if node == 0:
            _announce(run, attempt)
        out, err = run.stdout(), run.stderr()
        if resources.world_size > 1:
            out = err = launcher_log(run, attempt, node)
            variables |= torchrun_environment(run, attempt, node)
        with (
            _appending(run, out) as stdout,
            _appending(run, err) as stderr,
            # A launcher of several would not release them, and ignore them for good.
            signals_held() if resources.world_size == 1 else contextlib.nullcontext(),
        ):
            worker = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=variables,
                start_new_session=True,
                pass_fds=inherits,
            )
        if resources.nodes > 1:
            seat = multinode.seat_file(run, attempt, node)
            write_json(seat, asdict(os_process.of(worker.pid)), below=run.path)
        if node == 0:
            record_process(run, attempt, worker.pid)
    except BaseException as error:
        if worker is not None:  # it is recorded nowhere
            worker.kill()
        inside.unlink(multinode.seat_file(run, attempt, node), run.path)
        if node == 0:
            withdraw_claim(run, attempt)
        if isinstance(error, OSError):
            raise RunError(f"cannot start {run.id}: {error}") from error
        raise
    return worker


def _appending(run: RunDirectory, log: Path) -> BinaryIO:
    return os.fdopen(inside.open_file(log, run.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def check_world_size(run: RunDirectory, resources: Resources, *, inexact: bool) -> None:
    """Raise RunError if the newest checkpoint was saved by another number of processes, unless `inexact`."""
    manifests = (read_json(path / "manifest.json") for path in reversed(run.saved_checkpoints()))
    size = next((size for one in manifests if (size := one.get("world_size"))), resources.world_size)
    if size != resources.world_size and not inexact:
        raise RunError(
            f"{run.id} was trained by {size} processes, and {resources.world_size} cannot go on exactly "
            f"where they were: use --nproc {size}, or allow it with --inexact"
        )


def _announce(run: RunDirectory, attempt: int) -> None:
    """Remove old requests, and write to the summary that the attempt is starting."""
    inside.unlink(run.stop_request, run.path)
    inside.unlink(run.kill_request, run.path)
    write_status(run, "starting", attempt=attempt, host=socket.gethostname(), progressed=time.time())


def _free_attempt(run: RunDirectory, leave_s: float | None) -> int:
    """The number of the next attempt, which nobody has or may have, as far as is known. Raises as `start` does."""
    newest = newest_attempt(run)
    if newest:
        before = load_attempt(run, newest)
        if not before.begun and (claimant := _starter_of(before)):
            raise NothingToStart(f"{run.id} is being started by {claimant} at this moment")
        refuse_unless_ended(run, begun=before.begun, leave_s=leave_s)
    return newest + 1


def refuse_unless_ended(run: RunDirectory, *, begun: bool = True, leave_s: float | None = None) -> None:
    """Raise NothingToStart if a run is complete, or if it is live and its newest attempt has `begun`; Taken if it has
    processes left. An attempt that could not say how it ended, as a killed one, gets its record here."""
    verdict = judge(run)
    if begun and verdict.live and verdict.status != "queued":
        raise NothingToStart(f"{run.id} is {verdict.status} already: rbp watch {run.id}")
    if verdict.status == "completed":
        raise NothingToStart(f"{run.id} is complete: rbp resume {run.id} epochs=N trains it for longer")
    processes.refuse_remaining(run, leave_s)
    if not verdict.live:
        with cannot(f"record how {run.id} has ended"):
            record_verdict(run, verdict)


def _starter_of(record: AttemptRecord) -> str:
    """The process that is just starting an attempt, in words; empty if the one that claimed it has died.

    One of which nobody here knows has LOST_AFTER_S to start it: then the run counts as lost, like one of its kind.
    """
    alive = os_process.is_alive(record.starter)
    # A time far in the future means that the clock was set back; one slightly ahead, that another host's clock is.
    waits = alive is Alive.UNKNOWN and abs(time.time() - (record.t or 0.0)) < LOST_AFTER_S
    return str(record.starter) if waits or alive is Alive.YES else ""
