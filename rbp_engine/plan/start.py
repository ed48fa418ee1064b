"""Create or resume the runs of a sweep. Two sweeps that do so at once create no run twice.

The id of a run comes from its identity, and a run's folder is created exclusively: of two that create the same run, one
finds it already there. So nothing has to be locked, recorded or cleaned up, and it works on a shared file system. In an
array of Slurm jobs, each task trains one point, and continues it after a requeue or a resubmission.
"""

import contextlib
import functools
import itertools
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from rbp_engine.plan.points import SweepPlan, SweepPoint, run_identity
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.states import PointState, Standing
from rbp_engine.preset import LoadedPreset
from rbp_engine.run import start
from rbp_engine.run.errors import NothingToStart, RunError, Taken
from rbp_engine.run.files.layout import RunDirectory, name_in_id
from rbp_engine.run.launch.slurm import device_words, in_a_job, job_of, script
from rbp_engine.run.queue.transitions import is_stranded
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.start import StartResult
from rbp_engine.run.store.store import is_run, record


def check(plan: SweepPlan) -> None:
    """Raise UserError if a run of the plan could not be started here."""
    for loaded in plan.presets:
        check_preset(plan.request, loaded)


def check_preset(request: LaunchRequest, loaded: LoadedPreset) -> None:
    """Raise UserError if a run could not be started here: its data or devices are missing, or its code is not
    trusted."""
    start.check(request, request.require_trust(loaded))


def start_points(
    plan: SweepPlan,
    states: Sequence[PointState],
    on_refused: Callable[[RunError], None],
    once_trusted: Callable[[Callable[[], None]], None] = lambda resumed: resumed(),
) -> list[RunDirectory]:
    """Queue the runs that are missing, to be resumed, or stranded; returns them, and those that are live.

    A run that cannot be resumed, as a colleague's, is left out, and `on_refused` gets the reason. Before that,
    `once_trusted` may ask whether the user trusts it. Raises RunError for a run that cannot be created. What was queued
    before stays so.
    """
    runs: list[RunDirectory] = []
    for state in states:
        if state.record is None:
            runs += create(plan, state.point).runs
        elif state.standing in (Standing.RESUMABLE, Standing.LIVE):
            run = state.record.run
            if state.standing is Standing.RESUMABLE or is_stranded(run):
                try:
                    once_trusted(functools.partial(resume, plan.request, run))
                except RunError as refused:
                    on_refused(refused)
                    continue
            runs.append(run)
    if runs:
        start.ensure_dispatcher()
    return runs


def create(plan: SweepPlan, point: SweepPoint, *, at_once: bool = False) -> StartResult:
    """Create the run of a point and queue it, or start it `at_once`; or find the one that another sweep has just
    created. Raises RunError."""
    request = plan.request_of(point)
    if at_once:
        request = replace(request, options=replace(request.options, gpus=None))
    for number in itertools.count(1):
        run = RunDirectory(request.options.runs / run_id_of(point, number))
        if not os.path.lexists(run.path):
            try:
                return start.start_runs(replace(request, run_id=run.id), point.loaded)
            except Taken:
                if not os.path.lexists(run.path):
                    raise
        if is_run(run) and run_identity(record(run)) == point.identity:
            return StartResult([run])
        # It is another experiment, or damaged: `states_of` does not count it either.
    raise AssertionError("there are always more numbers")


def resume(request: LaunchRequest, run: RunDirectory) -> None:
    """Queue the next attempt of a run, with the resources that it had, unless somebody else has just done so.

    `request` is what the runs of its sweep share.
    """
    with contextlib.suppress(NothingToStart):
        start.resume(run, (), replace(request.options, resources=None))


def run_id_of(point: SweepPoint, number: int = 1) -> str:
    """The id for the run of a point: it ends in four characters to type, as ids do. `number` counts ids that are
    taken."""
    name, method = name_in_id(point.loaded.name), point.loaded.preset.method.name
    again = "" if number == 1 else f"-{number}"
    return f"{name}-{method}{again}-{point.identity[:8]}-{point.identity[8:12]}"


# How many tasks run at a time, unless the user changes it in the file.
AT_ONCE = 8
# Characters of an identity in the file. A plan has at most 1000 points.
SHORT = 12


def array_file(asked: SweepRequest, plan: SweepPlan, states: Sequence[PointState], rbp: Sequence[str]) -> str:
    """The text of a job file with a task for each point that is neither done nor failed.

    `plan` is that of the request, and `rbp` the command line of this `rbp`. A task finds its point by its identity: if
    the preset has been changed since, it ends with an error and trains nothing else. All tasks ask for as much as the
    largest. Raises RunError if nothing is left, or for cards that a job cannot ask for.
    """
    left = [state.point for state in states if state.standing not in (Standing.DONE, Standing.FAILED)]
    if not left:
        raise RunError(f"nothing is left to do of {plan.name}: rbp sweep … --status; --retry-failed adds failed runs")
    request, options = asked.request, asked.request.options
    name = name_in_id(plan.name)
    array = f"0-{len(left) - 1}%{AT_ONCE}"
    jobs = [job_of(point.loaded.preset, name, options.takes, options.gpus, array) for point in left]
    job = replace(jobs[0], cards=max(one.cards for one in jobs), cores=max(one.cores for one in jobs))
    here = device_words(left[0].loaded.preset, job)
    request = replace(request, overrides=(*request.overrides, *here), options=in_a_job(options, options.runs), typed=())
    command = shlex.join([*rbp, *replace(asked, request=request).command[1:]])
    points = " ".join(point.identity[:SHORT] for point in left)
    return script(job, f'{command} \\\n    --point "${{points[SLURM_ARRAY_TASK_ID]}}"', before=(f"points=({points})",))


def start_point(plan: SweepPlan, state: PointState) -> StartResult:
    """Create or resume the run of a point and start it at once, without the queue: the scheduler has given it what it
    needs. Raises NothingToStart if it is live, which is known only after half a minute, and other RunErrors."""
    started = StartResult([state.record.run]) if state.record else create(plan, state.point, at_once=True)
    if started.worker is not None:
        return started
    return start.resume(started.runs[0], (), plan.request.options, at_once=True, patience_s=start.PATIENCE_S)


def point_named(plan: SweepPlan, identity: str) -> SweepPlan:
    """The plan with only the point whose identity begins like this. Raises RunError if there is none."""
    found = tuple(point for point in plan.points if point.identity.startswith(identity))
    if len(found) != 1 or len(identity) < SHORT:
        raise RunError(
            f"--point {identity}: no run of this sweep is called that; its preset or code has changed since the job "
            "file was made: print it again with --slurm"
        )
    return replace(plan, points=found)
