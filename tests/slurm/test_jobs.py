"""Job files that `rbp` prints, submitted to a real Slurm: what a preemption, a time limit and a cancellation do."""

from collections.abc import Iterator

import pytest

ONE_CORE = ("--cpus-per-task=1",)


@pytest.fixture(autouse=True)
def slow(cluster) -> Iterator[None]:
    cluster.slow.touch()
    yield
    cluster.slow.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def undisturbed(cluster) -> str:
    """The id of a run in a job that nothing disturbs."""
    cluster.slow.unlink(missing_ok=True)
    job = cluster.submit("train", *cluster.preset, "--id", "undisturbed", options=ONE_CORE)
    cluster.wait_for_state(job, "COMPLETED")
    cluster.check("undisturbed", "completed", attempts=1)
    return "undisturbed"


def test_a_preempted_job_is_requeued_and_ends_with_the_weights_of_an_undisturbed_one(cluster, undisturbed: str) -> None:
    cluster.slow.touch()
    job = cluster.train("preempted")
    urgent = ("--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 5")
    cluster.tell(f"$ sbatch {' '.join(urgent)}")
    cluster("sbatch", *urgent)
    summary = cluster.check_requeued(job, "preempted")
    assert 2 <= summary.step < cluster.steps and "SIGTERM" in summary.reason
    cluster.check_continues(job, "preempted")
    cluster.check_same_weights("preempted", undisturbed)


def test_a_job_that_is_warned_of_its_time_limit_saves_requeues_itself_and_continues(cluster, undisturbed: str) -> None:
    """Slurm looks at time limits every half minute, and warns up to a minute earlier than the job file says."""
    cluster.slow.touch()
    job = cluster.train("limited")
    cluster.tell(f"$ scontrol update JobId={job} TimeLimit=6")
    cluster("scontrol", "update", f"JobId={job}", "TimeLimit=6")
    assert "SIGUSR1" in cluster.check_requeued(job, "limited").reason
    cluster.check_continues(job, "limited")
    cluster.check_same_weights("limited", undisturbed)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_run_uses_the_cores_that_its_job_has_asked_for(cluster, cores: int) -> None:
    run = f"cores-{cores}"
    job = cluster.train(run, options=(f"--cpus-per-task={cores}",))
    worker = cluster.worker(run)
    assert len(worker.cpu_affinity()) == cores == int(worker.environ()["OMP_NUM_THREADS"])
    cluster.tell(f"job {job} has {cores} cores, and its run as many threads")
    cluster.rbp("stop", run)
    told = cluster.wait_for_state(job, "FAILED")
    assert (told["ExitCode"], told["Restarts"]) == ("4:0", "0"), "a run that is asked to stop is not requeued"


def test_a_cancelled_job_saves_its_run_and_is_not_requeued(cluster) -> None:
    job = cluster.train("cancelled")
    cluster.tell(f"$ scancel {job}")
    cluster("scancel", job)
    assert cluster.wait_for_state(job, "CANCELLED")["Restarts"] == "0"
    cluster.check("cancelled", "preempted", attempts=1)


@pytest.mark.parametrize(
    ("many", "options"),
    [
        (("--nnodes", "2"), ("--cpus-per-task=1",)),
        (("--nproc", "2"), ("--cpus-per-task=2",)),
    ],
    ids=["two-tasks", "one-task"],
)
def test_two_tasks_or_processes_are_one_run_that_survives_a_requeue(
    cluster, many: tuple[str, ...], options: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    run = request.node.callspec.id
    job = cluster.train(run, *many, options=options)
    cluster.tell(f"$ scontrol requeue {job}")
    cluster("scontrol", "requeue", job)
    cluster.check_requeued(job, run)
    cluster.check_continues(job, run)
    if run == "two-tasks":
        job = cluster.submit("train", *cluster.preset, *many, "--id", "undisturbed-2", options=options)
        cluster.wait_for_state(job, "COMPLETED")
    cluster.check_same_weights(run, "undisturbed-2")


def test_slurm_accepts_a_job_that_asks_for_cards(cluster) -> None:
    file = cluster.folder / "cards.sh"
    file.write_text(cluster.rbp("train", *cluster.preset, "--gpus", "auto", "--slurm") + "\n")
    assert "--gpus-per-node=1\n" in file.read_text()
    cluster("sbatch", "--test-only", file.name)
    cluster("sbatch", "--test-only", "--gpus-per-node=3", file.name, code=1)
