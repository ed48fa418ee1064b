"""The runs of a sweep are created once, whoever else does so at the same time, and resumed where there are some."""

import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from rbp_engine.plan.points import SweepPlan, plan_sweep, run_identity
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.start import array_file, create, point_named, run_id_of, start_point, start_points
from rbp_engine.plan.states import PointState, Standing, counts, states_of
from rbp_engine.preset import load_preset
from rbp_engine.printable import NO_TEXT
from rbp_engine.run import start, trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Ended, launched
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.run_json import Dispatch, SweepRecord, read_run_json
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.queue.entries import entries
from rbp_engine.run.queue.host_lock import host_directory
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import record, run_directories
from rbp_engine.run.trust import Untrusted
from tests.run_files import change_identity, write_attempt
from tests.stopping import stop


@pytest.fixture
def plan(tmp_path):
    options = LaunchOptions(tmp_path / "runs", retries=3)
    return plan_sweep(SweepRequest(LaunchRequest("digits", ("T=1,2", "run.device=cpu"), options, (1, 2)), name="mine"))


def found_by(run):
    return run_identity(record(run))


def refuse(error: RunError) -> None:
    raise error


def test_of_several_who_start_a_sweep_at_once_each_run_is_created_and_queued_by_one(plan):
    states = states_of(plan)
    with ThreadPoolExecutor(3) as pool:
        found = [one.result() for one in [pool.submit(start_points, plan, states, refuse) for _ in range(3)]]
    runs = list(run_directories(plan.request.options.runs))
    assert {found_by(run) for run in runs} == {point.identity for point in plan.points}
    assert len(runs) == len(plan.points) == 4
    assert all({run.id for run in one} == {run.id for run in runs} for one in found)
    assert sorted(entry.run.id for entry in entries()) == sorted(run.id for run in runs)
    assert {entry.dispatch.retries for entry in entries()} == {3}
    assert {read_run_json(run).sweep for run in runs} == {SweepRecord("mine", trial) for trial in (1, 2)}  # type: ignore[arg-type]
    assert counts(states_of(plan))[Standing.LIVE] == 4


def test_what_was_queued_before_the_host_changed_its_name_is_queued_on_this_one(plan):
    """As in the next container of the same home."""
    made = start_points(plan, states_of(plan), refuse)
    old = host_directory().rename(host_directory().with_name("box1"))
    assert entries() == [] and counts(states_of(plan))[Standing.LIVE] == 4
    assert start_points(plan, states_of(plan), refuse) == made
    assert {entry.run.id for entry in entries()} == {run.id for run in made} and not list((old / "queue").iterdir())
    assert {judge(run).status for run in made} == {"queued"}


def test_what_was_stopped_is_queued_again_and_nothing_else_is_touched(plan):
    start_points(plan, states_of(plan), refuse)
    stopped, *others = run_directories(plan.request.options.runs)
    stop(stopped)
    assert [entry.run.id for entry in entries()].count(stopped.id) == 0
    assert counts(states_of(plan))[Standing.RESUMABLE] == 1
    assert len(start_points(plan, states_of(plan), refuse)) == 4
    assert judge(stopped).status == "queued"
    assert len(entries()) == len(list(run_directories(plan.request.options.runs))) == len(others) + 1


def test_runs_that_are_out_of_their_budget_are_done_whatever_budget_the_sweep_has(plan):
    [spent] = create(plan, plan.points[0]).runs
    stop(spent)
    write_status(spent, "stopped", "", Cause.BUDGET)
    words = ("run.device=cpu", "guard.max_time=8h", "guard.alerts=memory > 90 %", "T=1,2")
    larger = plan_sweep(SweepRequest(replace(plan.request, overrides=words)))
    assert counts(states_of(plan))[Standing.DONE] == counts(states_of(larger))[Standing.DONE] == 1


def test_a_run_that_cannot_be_resumed_does_not_keep_the_others_from_starting(plan):
    [damaged] = create(plan, plan.points[0]).runs
    stop(damaged)
    damaged.attempt(1).write_text("{")
    [foreign] = create(plan, plan.points[1]).runs
    stop(foreign)
    foreign.code.mkdir()
    (foreign.code / "nets.py").write_text("")
    [blocked] = create(plan, plan.points[2]).runs
    [queued] = entries()
    queued.path.unlink()
    write_attempt(blocked, ended=asdict(Ended("stopped", Cause.REQUEST, NO_TEXT, time.time())))
    blocked.summary_json.unlink()
    blocked.summary_json.mkdir()
    assert judge(blocked).status == "stopped"
    refused: list[RunError] = []
    assert len(start_points(plan, states_of(plan), refused.append)) == 1
    assert all(run.id in str(error) for run, error in zip((damaged, foreign, blocked), refused, strict=True))
    assert counts(states_of(plan))[Standing.LIVE] == 1 and len(entries()) == 1
    agreed: list[str] = []

    def trusting(resumed: Callable[[], None]) -> None:
        try:
            resumed()
        except Untrusted as untrusted:
            untrusted.agree()
            agreed.append(untrusted.key)
            resumed()

    assert len(start_points(plan, states_of(plan), refused.append, trusting)) == 2
    assert len(agreed) == 1


def test_a_run_that_a_scheduler_resumes_is_no_longer_one_of_the_queue(plan, monkeypatch):
    stop(*create(plan, plan.points[0]).runs)
    (state, *_) = states_of(plan)
    started: list[Dispatch] = []
    monkeypatch.setattr(start, "_start", lambda run, asked, *_, **__: started.append(asked.dispatch))
    start_point(plan, state)
    assert [(one.gpus, one.retries) for one in started] == [(None, 3)]


def test_a_run_of_several_nodes_is_not_resumed_in_the_queue_of_one(plan):
    [run] = create(plan, plan.points[0]).runs
    stop(run)
    change_identity(run, resources={"nodes": 2, "rendezvous": "here:29400"}, dispatch={})
    trust.remember_rendezvous(launched(run).resources)
    with pytest.raises(RunError, match="cannot wait in the queue of one"):
        start.resume(run, (), LaunchOptions(gpus="auto"))
    assert entries() == []


def test_an_id_that_another_run_has_by_now_is_left_to_it(plan):
    point = plan.points[0]
    changed = launch.create(load_preset("digits", ["T=7"]), plan.request.options.runs, run_id=run_id_of(point))
    (plan.request.options.runs / run_id_of(point, 2)).mkdir()  # another is no run at all
    (plan.request.options.runs / run_id_of(point, 3)).symlink_to("nowhere")
    [run] = create(plan, point).runs
    assert run.id == run_id_of(point, 4) and short_id(run.id) == short_id(changed.id) == changed.id[-4:]
    assert create(plan, point).runs == [run]
    assert found_by(run) == point.identity
    run.run_json.unlink()  # no list has it any more, nor has the sweep's
    assert create(plan, point).runs[0].id == run_id_of(point, 5)


# As a job array: its tasks, what they ask for, and how each finds its point.

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

    states = states_of(plan)
    states[1] = replace(states[1], standing=Standing.DONE)
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
    done = subprocess.run(["bash", "-c", stub + command], text=True, capture_output=True, check=True)
    assert done.stdout.split("\n")[1:-1] == [
        *("/my envs/python", "-m", "rbp_tui", "sweep", *WORDS, "run.device=cpu"),
        *("--runs-dir", str(plan.request.options.runs), "--point", plan.points[2].identity[:12]),
    ]
    assert 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' in text, "not the whole array"


def test_a_sweep_with_nothing_left_has_no_array():
    plan = planned()
    with pytest.raises(RunError, match="nothing is left to do of digits"):
        file(plan, [replace(state, standing=Standing.DONE) for state in states_of(plan)])


def test_a_task_of_an_array_that_was_printed_before_the_preset_changed_is_an_error(tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text("extends = 'digits'\n")
    request = SweepRequest(LaunchRequest(str(preset), ("T=1,2",)))
    printed = plan_sweep(request)
    preset.write_text("extends = 'digits'\noptim.lr = 0.3\n")
    for point in points_in(file(printed)):
        with pytest.raises(RunError, match="print it again with --slurm"):
            point_named(plan_sweep(request), point)


@pytest.mark.parametrize("name", ["", "0" * 12, "f"])
def test_a_point_that_the_sweep_no_longer_has_is_an_error(name):
    with pytest.raises(RunError, match="print it again with --slurm"):
        point_named(planned(), name)
