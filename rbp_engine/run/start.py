"""Start runs: make them, put them into the queue or start them at once, go on with them, or say why not.

Whatever starts a run comes through here: `rbp train`, the launch form, a resume, a job that is started again. Runs that
share this machine's devices wait in the queue until each can have its own. A dispatcher, one process for this user on
this host (`run/queue/dispatcher.py`), starts them and watches over them. It is there only while there is something for
it to do, and whoever finds something calls it.
"""

import dataclasses
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine import os_process
from rbp_engine.data.catalog import require
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files.layout import RunDirectory, new_run_id, read_json, refuse_links, write_json
from rbp_engine.run.files.resources import Dispatch, Resources, read_dispatch, read_resources
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch, making
from rbp_engine.run.launch.environment import module_command
from rbp_engine.run.queue.devices import Pool, pool_of_this_machine
from rbp_engine.run.queue.entries import attempts_of, entries, entry_of, new_entry, write_entry
from rbp_engine.run.queue.host_lock import host_directory, locked
from rbp_engine.run.queue.transitions import WAITS, drop, put_off
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import LOST_AFTER_S, judge
from rbp_engine.settings.machine import read_machine

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset

DISPATCHER = "rbp_engine.run.queue.dispatcher"
# How long a dispatcher may take to be done with a run that has ended, before that is started again.
SETTLE_S = 15.0
# Beyond the half minute after which a run without a sign of life is lost.
MARGIN_S = 5.0


@dataclasses.dataclass(frozen=True)
class Started:
    """The runs of a request, and the worker of one that was started at once: None where they wait in the queue, or
    where the one that was asked for is complete already."""

    runs: list[RunDirectory]
    worker: "subprocess.Popen[bytes] | None" = None


def check(request: LaunchRequest) -> "LoadedPreset":
    """The preset of a request that can be started here. Raises UserError with the reason where it cannot."""
    loaded = request.load()
    require_data(loaded)
    if request.queued:
        pool_for(request.takes, request.gpus or "auto", loaded.preset.run.device)
    return loaded


def require_data(loaded: "LoadedPreset") -> None:
    """Raises DataMissing where the data of a preset are not here; the user's own are not looked for."""
    if "data.name" not in loaded.own_code:
        require(loaded.preset.data.name)


def start_runs(request: LaunchRequest) -> Started:
    """Do what a request asks for. Raises UserError where that cannot be done.

    It is NothingToStart where the run that it names is live in other hands. Its node may have died without a word, so
    that is known only after half a minute.
    """
    loaded = request.load()
    require_data(loaded)
    may_be_there = request.resume_or_start or request.takes.nodes > 1
    runs, new = find_or_create(request, loaded) if may_be_there else (create_runs(request, loaded), True)
    patience_s = LOST_AFTER_S + MARGIN_S if may_be_there else 0.0
    if new:
        return Started(
            runs,
            None if request.queued else _start(runs[0], request.takes, request.retries or 0, patience_s=patience_s),
        )
    if judge(runs[0]).status in ("completed", "queued"):
        return Started(runs)
    worker = begin(
        runs[0],
        request.resources,
        gpus=request.gpus,
        retries=request.retries,
        inexact=request.inexact,
        patience_s=patience_s,
    )
    return Started(runs, worker)


def create_runs(request: LaunchRequest, loaded: "LoadedPreset") -> list[RunDirectory]:
    """Make the runs of a request, all or none of them, and put them into the queue if they are to wait there.

    Raises RunError.
    """
    resources, dispatch = request.takes, Dispatch(retries=request.retries or 0)
    pool: Pool | None = None
    _refuse_retries_on_nodes(resources, dispatch)
    if request.queued:
        if resources.nodes > 1:
            raise RunError("a run on several nodes cannot wait in the queue of one: start it on each of them")
        if request.gpus == "none" and loaded.preset.run.device == "auto":
            loaded = _changed(loaded, device="cpu")
        gpus = request.gpus or "auto"
        dispatch = dataclasses.replace(dispatch, gpus=gpus, device=loaded.preset.run.device)
        pool = pool_for(resources, gpus, dispatch.device)
        host_directory()  # a state directory that cannot be written is met before anything is made
    made: list[RunDirectory] = []
    try:
        for seed in request.seeds_of(loaded):
            run = launch.create(
                _changed(loaded, seed=seed),
                request.runs,
                run_id=request.run_id,
                command=request.typed or request.command,
                resources=resources,
                dispatch=dispatch,
            )
            made.append(run)
        if pool is not None:
            _enqueue(made, pool, resources.processes, dispatch.retries)
    except BaseException:
        if pool is not None:
            with locked():
                for run in made:
                    drop(run)
                    shutil.rmtree(run.path, ignore_errors=True)
        raise
    if pool is not None:
        ensure_dispatcher()
    return made


def find_or_create(request: LaunchRequest, loaded: "LoadedPreset") -> tuple[list[RunDirectory], bool]:
    """The run of the id that a request names, and whether it is new: of several nodes that ask at once, one makes it.

    Raises RunError where it is another experiment or another seed.
    """
    run = directory_of(request, loaded)
    deadline = time.monotonic() + making.UNTOUCHED_S + 5.0
    while making.is_half_made(run) or not run.run_json.is_file():
        try:
            return create_runs(request, loaded), True
        except RunError:
            # Another node has just made it, or an earlier version may be making it.
            if not (run.run_json.is_file() or making.is_half_made(run)) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    _check_same(run, loaded, *request.seeds_of(loaded))
    return [run], False


def directory_of(request: LaunchRequest, loaded: "LoadedPreset") -> RunDirectory:
    """The folder of the run of a request: that of its id, or one that a new run might have."""
    return RunDirectory(request.runs / (request.run_id or new_run_id(loaded.name, loaded.preset.method.name)))


def worker_command(request: LaunchRequest, run: RunDirectory) -> list[str]:
    """The command line of what would be started first: the worker, or the launcher of several."""
    return launch.command(run, request.takes)


def _check_same(run: RunDirectory, loaded: "LoadedPreset", seed: int) -> None:
    summary = read_summary(run)
    if summary is None:
        raise RunError(f"{run.id}: summary.json is missing or damaged")
    if summary.experiment != loaded.experiment:
        raise RunError(
            f"{run.id} is another experiment ({summary.label}, {summary.experiment[:8]} instead of "
            f"{loaded.experiment[:8]}): use another --id"
        )
    if summary.seed != seed:
        raise RunError(f"{run.id} has seed {summary.seed}, not {seed}: use another --id")


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
    resources = resources or read_resources(run)
    asked = read_dispatch(run)
    dispatch = dataclasses.replace(
        asked,
        gpus=asked.gpus if gpus is None else gpus,
        retries=asked.retries if retries is None else retries,
    )
    _refuse_retries_on_nodes(resources, dispatch)
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
    return _start(run, resources, dispatch.retries, inexact=inexact, patience_s=patience_s)


def _refuse_retries_on_nodes(resources: Resources, dispatch: Dispatch) -> None:
    if dispatch.retries and resources.nodes > 1:
        raise RunError("--retries is for runs on one node; what starts several of them has to start them again")


def _start(
    run: RunDirectory, resources: Resources, retries: int, *, inexact: bool = False, patience_s: float = 0.0
) -> "subprocess.Popen[bytes]":
    """Start the next attempt of a run at once, and have the dispatcher watch over it where it has something to do."""
    machine = read_machine()
    worker = launch.start(run, resources, inexact=inexact, patience_s=patience_s)
    _reap(worker)
    if retries or machine.on_end or machine.on_failure:
        with locked():
            write_entry(new_entry(run, after=attempts_of(run) - 1, retries=retries))
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
    _reap(process)


def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Wait for its end in a thread, or it stays behind as a zombie of a dashboard when it ends."""
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
