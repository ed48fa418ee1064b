"""A sweep as a job array: its tasks, what they ask for, and how each finds its point."""

import re
import subprocess
from dataclasses import replace

import pytest

from rbp_engine.plan.points import SweepPlan, plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.start import array_file, point_named
from rbp_engine.plan.states import PointState, Standing, states_of
from rbp_engine.run.errors import RunError
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchRequest

WORDS = ("digits", "T=1,2", "lr=0.1,0.2")


def planned(name: str = "") -> SweepPlan:
    return plan_sweep(asked(name))


def asked(name: str = "") -> SweepRequest:
    return SweepRequest(LaunchRequest(WORDS[0], WORDS[1:]), name=name)


def file(plan: SweepPlan, states: list[PointState] | None = None) -> str:
    return array_file(asked(), plan, states or states_of(plan), ["/my envs/python", "-m", "rbp_tui"])


def points_in(text: str) -> list[str]:
    found = re.search(r"^points=\((.*)\)$", text, re.MULTILINE)
    return found[1].split()


def test_an_array_has_a_task_for_each_run_that_is_left():
    plan = planned("name of $(this) sweep")
    text = file(plan)
    assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).stderr == ""
    assert "#SBATCH --job-name=name-of-this-sweep\n" in text and "#SBATCH --array=0-3%" in text
    assert [point_named(plan, point).points for point in points_in(text)] == [(point,) for point in plan.points]

    launch.create(plan.points[1].loaded, plan.request.options.runs)
    states = [
        replace(state, standing=Standing.DONE) if state.record is not None else state for state in states_of(plan)
    ]
    assert points_in(file(plan, states)) == [point for point in points_in(text) if point != points_in(text)[1]]


def test_all_tasks_ask_for_as_much_as_the_largest(tmp_path):
    preset = tmp_path / "two.toml"
    preset.write_text("[[sweep.list]]\nT = 1\n[[sweep.list]]\nT = 2\ndata.workers = 3\n")
    assert "#SBATCH --cpus-per-task=5\n" in file(plan_sweep(SweepRequest(LaunchRequest(str(preset)))))


def test_a_task_trains_the_point_of_its_number():
    plan = planned()
    text = file(plan)
    command = text[text.index("points=") : text.index("code=$?")]
    stub = 'srun() { printf "%s\\n" "$@"; }\nSLURM_ARRAY_TASK_ID=2\n'
    words = subprocess.run(["bash", "-c", stub + command], text=True, capture_output=True, check=True).stdout.split(
        "\n"
    )
    assert words[1:-1] == [
        *("/my envs/python", "-m", "rbp_tui", "sweep", *WORDS, "run.device=cpu"),
        *("--runs-dir", str(plan.request.options.runs), "--point", plan.points[2].identity[:12]),
    ]
    assert 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' in text, "not the whole array"


def test_a_sweep_with_nothing_left_has_no_array():
    plan = planned()
    with pytest.raises(RunError, match="nothing is left to do of digits"):
        file(plan, [replace(state, standing=Standing.DONE) for state in states_of(plan)])


@pytest.mark.parametrize("name", ["", "0" * 12, "f"])
def test_a_point_that_the_sweep_no_longer_has_is_an_error(name):
    with pytest.raises(RunError, match="print it again with --slurm"):
        point_named(planned(), name)
