"""A sweep as an array of Slurm jobs: each task trains one point, and continues it after a requeue or a resubmission."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.start import create
from rbp_engine.plan.states import PointState, Standing
from rbp_engine.run import start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import name_in_id
from rbp_engine.run.launch.slurm import device_words, in_a_job, job_of, script
from rbp_engine.run.start import StartResult

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
    run = create(plan, state.point, queued=False) if state.record is None else state.record.run
    return start.resume(run, (), plan.request.options, at_once=True, patience_s=start.PATIENCE_S)


def point_named(plan: SweepPlan, identity: str) -> SweepPlan:
    """The plan with only the point whose identity begins like this. Raises RunError if there is none."""
    found = tuple(point for point in plan.points if point.identity.startswith(identity))
    if len(found) != 1 or len(identity) < SHORT:
        raise RunError(
            f"--point {identity}: no run of this sweep is called that; its preset or code has changed since the job "
            "file was made: print it again with --slurm"
        )
    return replace(plan, points=found)
