"""A sweep as an array of jobs on a real Slurm: what is requeued, signalled or cancelled, the next start completes."""

import json
import re

ONE_CORE = ("--cpus-per-task=1",)


def test_an_array_trains_each_run_of_a_sweep_once_and_submitted_again_what_is_left(cluster) -> None:
    cluster.slow.touch()
    sweep = ("sweep", *cluster.preset, "lr=0.1,0.2", "--seeds", "1,2")
    job = cluster.submit(*sweep, options=ONE_CORE)
    points = re.search(r"points=\((.*)\)", (cluster.folder / "job.sh").read_text())[1].split()
    runs = [f"digits-rate_m-{point[:8]}-{point[8:]}" for point in points]
    assert len(set(runs)) == 4
    for run in runs:
        cluster.wait_for_step(run)
    # The last task has the id of the array.
    requeued, cancelled, signalled = (f"{job}_{task}" for task in (0, 2, 3))
    for command in (("scontrol", "requeue", requeued), ("scancel", "--signal=USR1", signalled), ("scancel", cancelled)):
        cluster.tell(f"$ {' '.join(command)}")
        cluster(*command)
    cluster.wait_for_state(cancelled, "CANCELLED")
    cluster.check(runs[2], "preempted", attempts=1)
    for number in (0, 3):
        cluster.check_requeued(f"{job}_{number}", runs[number])
    cluster.slow.unlink()
    for task in (requeued, signalled):
        cluster.start_again_soon(task)
    for task in (0, 1, 3):
        cluster.wait_for_state(f"{job}_{task}", "COMPLETED")
    ends = ("completed", 2), ("completed", 1), ("preempted", 1), ("completed", 2)
    for run, (status, attempts) in zip(runs, ends, strict=True):
        cluster.check(run, status, attempts=attempts)

    job = cluster.submit_again(ONE_CORE)
    for task in range(4):
        cluster.wait_for_state(f"{job}_{task}", "COMPLETED")
    for run, attempts in zip(runs, (2, 1, 2, 2), strict=True):
        cluster.check(run, "completed", attempts=attempts)
    shown = json.loads(cluster.rbp(*sweep, "--status", "--json"))
    assert shown["counts"]["done"] == shown["runs"] == len(list(cluster.runs.iterdir())) == 4
    assert "nothing is left" in cluster.rbp(*sweep, "--slurm", code=2)
