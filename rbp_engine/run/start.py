"""Start runs that share this machine's devices: each waits in the queue until it can have its own.

A dispatcher, one process for this user on this host (`run/queue/dispatcher.py`), starts them and watches over them. It
is there only while there is something for it to do, and whoever finds something calls it.
"""

import dataclasses
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbp_engine import os_process
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files.layout import RunDirectory, read_json, refuse_links, write_json
from rbp_engine.run.files.resources import Dispatch, Resources, read_dispatch, read_resources
from rbp_engine.run.launch import launch
from rbp_engine.run.launch.environment import module_command
from rbp_engine.run.queue.devices import Pool, pool_of_this_machine
from rbp_engine.run.queue.entries import attempts_of, entries, entry_of, new_entry, write_entry
from rbp_engine.run.queue.host_lock import host_directory, locked
from rbp_engine.run.queue.transitions import WAITS, drop, put_off
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_engine.settings.machine import read_machine

if TYPE_CHECKING:
    from rbp_engine.preset.load import LoadedPreset

DISPATCHER = "rbp_engine.run.queue.dispatcher"
# How long a dispatcher may take to be done with a run that has ended, before that is started again.
SETTLE_S = 15.0


def submit(
    loaded: "LoadedPreset",
    runs: Path,
    seeds: Sequence[int],
    resources: Resources,
    retries: int = 0,
    *,
    gpus: str = "auto",
    run_id: str | None = None,
    command: Sequence[str] = (),
) -> list[RunDirectory]:
    """Make a run for each seed (none: for the preset's own) and put them into the queue, all or none of them.

    Each takes `resources.processes` devices of those that `gpus` means ("auto", "none", or indices of cards), and is
    started again up to `retries` times after faults that are not its own. Raises RunError.
    """
    if resources.nodes > 1:
        raise RunError("a run on several nodes cannot wait in the queue of one: start it on each of them")
    if gpus == "none" and loaded.preset.run.device == "auto":
        loaded = _changed(loaded, device="cpu")
    dispatch = Dispatch(gpus, retries, loaded.preset.run.device)
    pool = pool_for(resources, gpus, dispatch.device)
    host_directory()  # a state directory that cannot be written is met before anything is made
    made: list[RunDirectory] = []
    try:
        for seed in seeds or [loaded.preset.run.seed]:
            made.append(launch.create(_changed(loaded, seed=seed), runs, run_id=run_id, command=command))
            _describe(made[-1], resources=resources.as_json(), dispatch=dispatch.as_json())
        _enqueue(made, pool, resources.processes, retries)
    except BaseException:
        with locked():
            for run in made:
                drop(run)
                shutil.rmtree(run.path, ignore_errors=True)
        raise
    ensure_dispatcher()
    return made


def begin(
    run: RunDirectory,
    resources: Resources | None = None,
    *,
    gpus: str | None = None,
    retries: int | None = None,
    inexact: bool = False,
    patience_s: float = 0.0,
) -> "subprocess.Popen[bytes] | None":
    """Start the next attempt of a run at once, and give back its worker; or put it into the queue, if that is where it
    came from or `gpus` says so, and give back None. Resources, `gpus` and `retries` are as last time, unless given.

    `inexact` and `patience_s` are as for `launch.start`, and it raises RunError as that does.
    """
    refuse_links(run)
    machine = read_machine()
    resources = resources or read_resources(run)
    asked = read_dispatch(run)
    dispatch = dataclasses.replace(
        asked,
        gpus=asked.gpus if gpus is None else gpus,
        retries=asked.retries if retries is None else retries,
    )
    if dispatch.retries and resources.nodes > 1:
        raise RunError("--retries is for runs on one node; what starts several of them has to start them again")
    _wait_until_settled(run)
    if judge(run).status == "queued":
        raise NothingToStart(f"{run.id} is queued already: rbp queue")
    if dispatch.gpus is not None:
        _refuse_unless_ended(run, patience_s)
        pool = pool_for(resources, dispatch.gpus, dispatch.device or _device_of(run))
        dispatch = dataclasses.replace(dispatch, inexact=inexact)
        _describe(run, dispatch=dispatch.as_json(), resources=resources.as_json())
        _enqueue([run], pool, resources.processes, dispatch.retries)
        ensure_dispatcher()
        return None
    if dispatch != asked:
        _describe(run, dispatch=dispatch.as_json())
    worker = launch.start(run, resources, inexact=inexact, patience_s=patience_s)
    if dispatch.retries or machine.on_end or machine.on_failure:
        with locked():
            write_entry(new_entry(run, after=attempts_of(run) - 1, retries=dispatch.retries))
        ensure_dispatcher()
    return worker


def ensure_dispatcher() -> None:
    """Start a dispatcher on this host, if there is something for it to do and none is alive."""
    if not entries():
        return
    with locked():
        # One that is about to leave looks for entries under the lock: one that is there now will see these.
        if dispatcher_pid() is not None:
            return
    with (host_directory() / "dispatcher.log").open("ab") as log:
        process = subprocess.Popen(
            module_command(DISPATCHER),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=processes.without_marks(os.environ),
            start_new_session=True,
        )
    # Somebody must wait for it, or it stays behind as a zombie of a dashboard when it ends.
    threading.Thread(target=process.wait, daemon=True).start()


def dispatcher_pid() -> int | None:
    """The process of this host's dispatcher, None if there is none."""
    told = read_json(host_directory() / "dispatcher.json")
    return told["pid"] if os_process.is_alive(told.get("pid"), told.get("pid_started")) else None


def _enqueue(runs: Sequence[RunDirectory], pool: Pool, takes: int, retries: int) -> None:
    with locked():
        for run in runs:
            if entry_of(run) is not None:
                raise NothingToStart(f"{run.id} is queued already: rbp queue")
            write_entry(new_entry(run, after=attempts_of(run), retries=retries, pool=pool, takes=takes))
            put_off(run, WAITS)


def _refuse_unless_ended(run: RunDirectory, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while (verdict := judge(run)).live and time.monotonic() < deadline:
        time.sleep(0.2)
    if verdict.live:
        raise NothingToStart(f"{run.id} is {verdict.status} already: rbp watch {run.id}")
    if verdict.status == "completed":
        raise NothingToStart(f"{run.id} is complete; there is nothing to resume")


def _device_of(run: RunDirectory) -> str:
    from rbp_engine.preset import read_resolved

    return read_resolved(run.preset_toml).run.device


def _wait_until_settled(run: RunDirectory) -> None:
    """Let the dispatcher be done with an attempt that has just ended: its hooks, its devices."""
    deadline = time.monotonic() + SETTLE_S
    while entry_of(run) is not None and not judge(run).live:
        if time.monotonic() > deadline:
            raise RunError(f"{run.id} has ended, but the dispatcher is not done with it: rbp queue")
        ensure_dispatcher()
        time.sleep(0.1)


def pool_for(resources: Resources, gpus: str, device: str) -> Pool:
    """The devices that `gpus` means for a preset's `run.device`. Raises RunError where there are too few for a run."""
    pool = pool_of_this_machine(gpus, device)
    if resources.processes > len(pool.devices):
        there = ", ".join(map(str, pool.devices))
        raise RunError(f"a run of {resources.processes} processes takes as many devices, and there is only: {there}")
    return pool


def _changed(loaded: "LoadedPreset", **settings: Any) -> "LoadedPreset":
    """The preset with other settings of its section `run`, none of which makes it another experiment."""
    run = loaded.preset.run.model_copy(update=settings)
    return dataclasses.replace(loaded, preset=loaded.preset.model_copy(update={"run": run}))


def _describe(run: RunDirectory, **what: Any) -> None:
    """Add to run.json; nobody else writes it before the run is started."""
    write_json(run.run_json, read_json(run.run_json) | what)
