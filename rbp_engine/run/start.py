"""Start runs: create them, queue them or start them at once, resume them, or report why that is impossible.

Every start of a run goes through here: `rbp train`, the launch form, a resume, a job that a scheduler restarts. Runs
that share this machine's devices wait in the queue until each can have its own. A dispatcher, one process per user and
host (`run/queue/dispatcher.py`), starts and monitors them. It lives only while it has work; any process that queues a
run or sees one waiting starts it.
"""

import functools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rbp_engine.data.catalog import catalogued
from rbp_engine.preset import LoadedPreset
from rbp_engine.preset.own_code import all_files
from rbp_engine.run import longer, trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import NothingToStart, RunError, Taken
from rbp_engine.run.files.attempts import Asked, launched, newest_begun
from rbp_engine.run.files.layout import RunDirectory, new_run_id, refuse_links
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.files.summary import load_summary, refuse_other_program, write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.launch.environment import in_background
from rbp_engine.run.queue.devices import pool_of_this_machine
from rbp_engine.run.queue.entries import entries_of, entry_of, has_entries, new_entry, write_entry
from rbp_engine.run.queue.host_lock import dispatcher, host_directory, locked
from rbp_engine.run.queue.observe import DISPATCHER_LOG
from rbp_engine.run.queue.transitions import WAITS, drop, is_stranded, take_stranded
from rbp_engine.run.request import AS_USUAL, MOST_NODES, MOST_PROCESSES, MOST_RETRIES, LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import LOST_AFTER_S, judge
from rbp_engine.run.store.run_settings import read_settings
from rbp_engine.run.trust import Launchable, TrustedPreset
from rbp_engine.settings.machine import read_machine

DISPATCHER = "rbp_engine.run.queue.dispatcher"
# How long a restart waits for the dispatcher to finish with the attempt that has ended.
SETTLE_S = 15.0
# How long a starter on another node may take to record its process.
CLAIM_S = 10.0
# How long a run that another node has created may not be seen here.
SEEN_WITHIN_S = 15.0
# How long to wait for a run that seems to be live: one without a heartbeat is lost after half a minute.
PATIENCE_S = LOST_AFTER_S + 5.0


@dataclass(frozen=True)
class StartResult:
    """The runs of a request, and the worker of one that was started at once: None if they wait in the queue, or if the
    requested run is already complete."""

    runs: list[RunDirectory]
    worker: "subprocess.Popen[bytes] | None" = None


def check(request: LaunchRequest, loaded: LoadedPreset | None = None) -> LoadedPreset:
    """The preset of a request, unless it is loaded. Raises UserError with the reason if it cannot be started on this
    machine."""
    loaded = loaded or request.load()
    require_data(loaded)
    asked = request.asked
    if asked.dispatch.gpus is not None:
        pool_of_this_machine(asked.dispatch.gpus, loaded.preset.run.device, asked.resources.processes)
    return loaded


def require_data(loaded: LoadedPreset) -> None:
    """Raise DataMissing if the data of a preset are not on this machine; a user's own data set is not checked."""
    if "data.name" not in loaded.own_code:
        catalogued(loaded.preset.data.name).require()


def start_runs(request: LaunchRequest, loaded: LoadedPreset | None = None) -> StartResult:
    """Create and start, queue, or resume the runs of a request; `loaded` is its preset, unless that is to be loaded.

    Of several nodes that ask for one run at once, only one creates it. Raises UserError if a run cannot be started,
    Taken if the id of a new one is another run's, and NothingToStart if the named run is already live. Its node may
    have died without a report, so this is known only after half a minute.
    """
    loaded = request.require_trust(loaded or request.load())
    require_data(loaded)
    run, may_be_there = directory_of(request, loaded), request.resume_or_start or request.options.takes.nodes > 1
    patience_s = PATIENCE_S if may_be_there else 0.0
    if not (may_be_there and run.run_json.is_file()):
        try:
            made = create_runs(request, loaded)
        except Taken:
            if not may_be_there:
                raise
            # Another node may just have created it; shared file systems show it a few seconds later.
            deadline = time.monotonic() + SEEN_WITHIN_S
            while not run.run_json.is_file():
                if not os.path.lexists(run.path) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        else:
            asked = launched(made[0])
            queued = asked.dispatch.gpus is not None
            return StartResult([*made], None if queued else _start(made[0], asked, patience_s=patience_s))
    trust.remember_same_code(run, all_files(loaded.own_code))
    _require_trust(run, request.options.resources)
    _check_same(run, loaded, *request.seeds_of(loaded))
    status = judge(run).status
    if status == "completed" or (status == "queued" and not is_stranded(run)):
        return StartResult([run])
    return resume(run, (), request.options, patience_s=patience_s)


def create_runs(request: LaunchRequest, loaded: TrustedPreset) -> list[Launchable]:
    """Create the runs of a request, one for each seed, all or none, and queue them if the request says so.

    `loaded` is the preset of the request. Raises Taken for an id that is in use, and other RunErrors.
    """
    asked = request.asked
    if asked.dispatch.gpus == "none" and loaded.preset.run.device == "auto":
        loaded = loaded.with_run(device="cpu")
    device, queued = loaded.preset.run.device, asked.dispatch.gpus is not None
    _refuse_impossible(asked, device)
    made: list[Launchable] = []
    try:
        for seed in request.seeds_of(loaded):
            run = launch.create(
                loaded.with_run(seed=seed),
                request.options.runs,
                run_id=request.run_id,
                command=request.typed or request.command,
                asked=asked,
                sweep=request.sweep,
            )
            made.append(run)
        if queued:
            _enqueue(made, launched(made[0]), device)
    except BaseException:
        if queued:
            with locked():
                for run in made:
                    drop(run)
                    shutil.rmtree(run.path, ignore_errors=True)
        raise
    if queued:
        ensure_dispatcher()
    return made


def directory_of(request: LaunchRequest, loaded: LoadedPreset) -> RunDirectory:
    """The folder of a request's run: that of its id, or one with a newly drawn id."""
    return RunDirectory(request.options.runs / (request.run_id or new_run_id(loaded.name, loaded.preset.method.name)))


def _check_same(run: RunDirectory, loaded: LoadedPreset, seed: int) -> None:
    summary = load_summary(run)
    if summary.experiment != loaded.experiment:
        raise RunError(
            f"{run.id} is another experiment ({summary.described}, {summary.experiment[:8]} instead of "
            f"{loaded.experiment[:8]}): use another --id"
        )
    if summary.seed != seed:
        raise RunError(f"{run.id} has seed {summary.seed}, not {seed}: use another --id")


def resume(
    run: RunDirectory,
    words: Sequence[str] = (),
    options: LaunchOptions = AS_USUAL,
    *,
    at_once: bool = False,
    patience_s: float = 0.0,
) -> StartResult:
    """Start the next attempt of a run, or of its fork for settings as `epochs=400`; or queue it, if it was queued
    before or the `options` have `gpus`. What they leave open is as last time; with `at_once`, no queue and no devices:
    a scheduler has given this process its own.

    `patience_s` is how long to wait if the run seems to be live, as a scheduler's job does: its node may have died
    without a report.

    Raises Untrusted if the run, or where it is, is not this user's, RunError if its budget is used up, which would end
    it again at once, and what `launch.start` and `longer.go_on` do.
    """
    if not (words or patience_s) and judge(run).cause is Cause.BUDGET:
        larger = " ".join(longer.larger_budgets(run))
        raise RunError(f"the budget of {run.id} is used up: rbp resume {run.id} {larger}")
    changed: dict[str, Any] = {}
    if words:
        asked = _asked(run, options, at_once=at_once)  # refused before a fork is made
        run, changed = longer.go_on(run, words, asked, functools.partial(_require_trust, run, options.resources))
    launchable = _require_trust(run, options.resources)
    asked = _asked(run, options, at_once=at_once)
    asked = replace(asked, changed=asked.changed | changed)
    return StartResult([run], _start(launchable, asked, _device(run), patience_s=patience_s))


def _asked(run: RunDirectory, options: LaunchOptions, *, at_once: bool) -> Asked:
    """How the next attempt of a run is asked for. Raises RunError if it cannot be started so, whoever asks."""
    refuse_other_program(run)
    refuse_links(run)
    asked = options.asked(launched(run))
    if at_once:
        asked = replace(asked, dispatch=replace(asked.dispatch, gpus=None))
    _refuse_impossible(asked, _device(run))
    return asked


def _device(run: RunDirectory) -> str:
    return read_settings(run).get("run.device") or "auto"


def _require_trust(run: RunDirectory, given: Resources | None) -> Launchable:
    """The gate of an attempt of a run that is there, with the resources that the user has `given`, or its own."""
    refuse_other_program(run)
    trust.require_place(run.path.parent)
    if given is None:
        return trust.require_launch(run, rendezvous=trust.rendezvous_of(launched(run).resources))
    trust.remember_rendezvous(given)
    return trust.require_launch(run)


def _refuse_impossible(asked: Asked, device: str) -> None:
    """Raise RunError for what this machine cannot start, before anything is changed.

    That is more than anybody has (the numbers of a run that was copied here may be anything), what cannot be queued,
    devices that are not there, and what needs the dispatcher where its directory cannot be written.
    """
    resources, dispatch = asked.resources, asked.dispatch
    for what, number, most in (
        ("processes", resources.processes, MOST_PROCESSES),
        ("nodes", resources.nodes, MOST_NODES),
        ("retries", dispatch.retries, MOST_RETRIES),
    ):
        if number > most:
            raise RunError(f"{number} {what} are more than rbp can start: at most {most}")
    if dispatch.gpus is not None and resources.nodes > 1:
        raise RunError("a run on several nodes cannot wait in the queue of one: start it on each of them")
    if dispatch.retries and resources.nodes > 1:
        raise RunError("--retries is for runs on one node; what starts several of them has to start them again")
    if dispatch.gpus is not None:
        pool_of_this_machine(dispatch.gpus, device, resources.processes)
    if dispatch.gpus is not None or _is_monitored(dispatch.retries):
        with locked():
            pass


def _is_monitored(retries: int) -> bool:
    """Whether the dispatcher monitors a run that is started at once: there are retries or hooks."""
    machine = read_machine()
    return bool(retries or machine.on_end or machine.on_failure)


def _start(
    run: Launchable, asked: Asked, device: str = "auto", *, patience_s: float = 0.0
) -> "subprocess.Popen[bytes] | None":
    """Start the next attempt of a run at once and return its worker, which the dispatcher monitors if there are retries
    or hooks; or queue it, if that is asked for, and return None.

    Waits until the dispatcher has finished with an attempt that has just ended: its hooks, its devices. `patience_s` is
    how long to wait if the run seems to be live: its node may have died without a report.
    """
    queued, began = asked.dispatch.gpus is not None, time.monotonic()
    if asked.resources.nodes > 1:
        patience_s = max(patience_s, CLAIM_S)
    while True:
        verdict, waited = judge(run), time.monotonic() - began
        if verdict.status == "queued":  # else the queue is not needed, and its directory need not be writable
            _take_from_queue(run)
        if not verdict.live and entry_of(run) is not None:
            if waited > SETTLE_S + patience_s:
                raise RunError(f"{run.id} has ended, but the dispatcher is not done with it: rbp queue")
            ensure_dispatcher()
        else:
            try:
                if queued:
                    launch.refuse_unless_ended(run)
                    _enqueue([run], asked, device)
                worker = None if queued else launch.start(run, asked)
                break
            except Taken:
                if waited > patience_s or judge(run).status == "completed":
                    raise
        time.sleep(0.2)
    if worker is not None:
        _reap(worker)
        if not _is_monitored(asked.dispatch.retries):
            return worker
        with locked():
            write_entry(new_entry(run, asked, after=newest_begun(run) - 1))
    ensure_dispatcher()
    return worker


def _take_from_queue(run: RunDirectory) -> None:
    """Take a run out of a queue that nobody serves. Raises NothingToStart if it waits in any other."""
    if not is_stranded(run):
        elsewhere = f", not in the queue of this host: if it waits in no other, rbp stop {run.id} first"
        raise NothingToStart(f"{run.id} is queued already{': rbp queue' if entry_of(run) else elsewhere}")
    take_stranded(run)


def ensure_dispatcher() -> None:
    """Start a dispatcher on this host if it has work and none is alive."""
    if not has_entries():
        return
    with locked():
        # A dispatcher looks for entries under this lock before it exits, so one that is alive now will see these.
        if dispatcher() is not None:
            return
    _reap(in_background(host_directory() / DISPATCHER_LOG, DISPATCHER))


def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the process in a thread; otherwise it would stay a zombie as long as a dashboard lives."""
    threading.Thread(target=process.wait, daemon=True).start()


def _enqueue(runs: Sequence[RunDirectory], asked: Asked, device: str) -> None:
    with locked():
        if there := entries_of(runs):
            raise NothingToStart(f"{there[0].run.id} is queued already: rbp queue")
        for run in runs:
            write_entry(new_entry(run, asked, device=device, after=newest_begun(run)))
            try:
                write_status(run, "queued", WAITS)
            except OSError as error:
                drop(run)
                raise RunError(f"cannot write {run.summary_json}: {error.strerror}; then resume {run.id}") from error
