"""`rbp sweep --slurm` and `--point`: what the tasks of a job array do. tests/slurm does the same on a real Slurm."""

import json
import subprocess

from idle import IDLE

SWEEP = ("sweep", "digits", "T=1,2", "epochs=1", "batch=256", *IDLE)


def test_a_task_of_an_array_trains_its_run_without_the_queue_and_only_once(rbp):
    text = rbp(*SWEEP, "--slurm").stdout
    stub = 'srun() { shift; "$@"; }\nSLURM_ARRAY_TASK_ID=1\n'

    def task():
        done = subprocess.run(["bash", "-c", stub + text], env=rbp.environment, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    task()
    (folder,) = rbp.runs.iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert run["sweep"] == {"name": "digits", "trial": 2} and run["dispatch"]["gpus"] is None
    assert json.loads((folder / "summary.json").read_text())["status"] == "completed"
    assert f"{folder.name} is done: completed" in task()
    assert len(list(rbp.runs.iterdir())) == 1 and len(list((folder / "attempts").iterdir())) == 1
