"""A sweep as a job array: the file for Slurm, and what each of its tasks does."""

from collections.abc import Sequence

from rbp_engine.data.catalog import DataMissing
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.start import array_file, start_point
from rbp_engine.plan.states import PointState, Standing
from rbp_engine.printable import visible
from rbp_engine.run import start
from rbp_engine.run.errors import NothingToStart
from rbp_engine.run.launch.environment import module_command
from rbp_tui.cli.output import print_lines, say
from rbp_tui.cli.sweep.text import say_plan
from rbp_tui.cli.train.following import exit_code, follow_started
from rbp_tui.cli.trust import once_trusted
from rbp_tui.text.styled import paragraph


def print_array(asked: SweepRequest, plan: SweepPlan, states: Sequence[PointState]) -> None:
    """Print the job file on stdout, and the plan of the request on stderr."""
    print_lines(visible(array_file(asked, plan, states, module_command("rbp_tui"))))
    say_plan(plan, states)
    try:
        for loaded in plan.presets:
            start.require_data(loaded)
    except DataMissing as missing:
        say("[yellow]here it would not run:[/] {}", paragraph(str(missing)))


def train_point(plan: SweepPlan, state: PointState, *, as_json: bool, trust: bool) -> int:
    """Train the run of a point, unless there is nothing to do; the exit code is the run's."""
    if state.record is not None and state.standing in (Standing.DONE, Standing.FAILED):
        verdict = state.record.verdict
        say("{} is {}: {}", state.record.run.id, state.standing, verdict.reason or verdict.status)
        return 0 if state.standing is Standing.DONE else exit_code(verdict)
    start.require_data(state.point.loaded)
    once_trusted(lambda: plan.request.require_trust(state.point.loaded), trust=trust)
    try:
        started = once_trusted(lambda: start_point(plan, state), trust=trust)
    except NothingToStart as why:
        say("{}", why)  # another process was first and is running it
        return 0
    return follow_started(started, detach=False, as_json=as_json, request=plan.request_of(state.point))
