"""A Slurm job file that trains a run and resumes it after every requeue."""

import shlex
from collections.abc import Sequence

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.resources import Resources

# Slurm warns the job this many seconds before its time limit: a step and a save must fit in.
WARNING_S = 300
# The rendezvous of the job's nodes: the shell substitutes the first node.
RENDEZVOUS = "$head:29400"


def job_file(words: Sequence[str], run: RunDirectory, resources: Resources, *, gpus: bool) -> str:
    """The text of a job file for a run; `words` are a preset and its overrides as on the command line.

    `gpus` asks for one GPU for each process of a node. Time, memory and partition are for the user to fill in.
    """
    runs = shlex.join(["--runs-dir", str(run.path.parent.resolve())])
    several = resources.nodes > 1
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={run.id}",
        f"#SBATCH --nodes={resources.nodes}",
        "#SBATCH --ntasks-per-node=1",
        *([f"#SBATCH --gpus-per-node={resources.processes}"] if gpus else []),
        f"#SBATCH --cpus-per-task={4 * resources.processes}",
        "#SBATCH --time=24:00:00",
        f"#SBATCH --signal=USR1@{WARNING_S}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={run.id}-%j.log",
        "",
        *(['head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'] if several else []),
        f"srun rbp train {shlex.join(words)} \\",
        f"    --nproc {resources.processes} "
        + (f'--nnodes {resources.nodes} --rdzv "{RENDEZVOUS}" ' if several else "")
        + f"--id {run.id} --resume-or-start {runs}",
        "code=$?",
        "# Out of time, or preempted: the run has saved a checkpoint, and continues when the job is scheduled again.",
        f'if rbp runs show {run.id} {runs} --json | grep -q \'"status": "preempted"\'; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        "exit $code",
    ]
    return "\n".join(lines) + "\n"
