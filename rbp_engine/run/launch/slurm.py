"""Slurm job files: what a run asks the cluster for, and a script that continues it after a preemption or a time limit.

Slurm signals all processes of the job's steps, `rbp train`, its worker and theirs, and not the shell of the job file:
USR1 before the time limit, and SIGTERM at a preemption, a requeue or `scancel`. At SIGTERM the shell ends at once, and
Slurm itself requeues the job unless it was cancelled. So the shell requeues a job only after a warning.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.data.catalog import CATALOG
from rbp_engine.errors import PREEMPTED_CODE
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.request import LaunchOptions, LaunchRequest

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.preset.schema import Preset

# Slurm warns the job this many seconds before its time limit, or up to a minute earlier: a step and a save must fit in.
WARNING_S = 300
# The rendezvous of the job's nodes: the shell substitutes the first node, and a port that other jobs do not share.
RENDEZVOUS = "$head:$port"
_FIND_RENDEZVOUS = (
    'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
    "port=$((15000 + SLURM_JOB_ID % 15000))",
)
# Besides the processes that read images: one core computes, or feeds the card, and one does the rest.
CORES = 2
# With data.workers = auto, which reads with all cores but one.
CORES_FOR_AUTO = 4


@dataclass(frozen=True)
class SlurmJob:
    """What a job asks for: `cards` and `cores` on each of its nodes. `array` numbers its tasks, as "0-11%4"."""

    name: str
    nodes: int
    cards: int
    cores: int
    array: str = ""


def wants_cards(preset: "Preset", gpus: str | None) -> bool:
    """Whether a run of this preset is to have a card for each process; `gpus` is `--gpus`, None if it is not given.

    Without it, `run.device` decides, and with "auto" the data: those that come in a Python package are small enough for
    the CPU. Raises RunError if `gpus` names cards, which Slurm chooses, or contradicts `run.device`.
    """
    device = preset.run.device
    if gpus not in (None, "auto", "none"):
        raise RunError(f"--gpus {gpus} chooses cards of this machine, and in a job Slurm does: give auto or none")
    if gpus == "none" and device.startswith("cuda"):
        raise RunError(f"run.device={device} asks for a card, and --gpus none for none: leave one of them out")
    if device != "auto" or gpus == "none":
        return device.startswith("cuda")
    return gpus == "auto" or preset.data.name not in CATALOG or bool(CATALOG[preset.data.name].folder)


def job_of(preset: "Preset", name: str, resources: Resources, gpus: str | None, array: str = "") -> SlurmJob:
    """The job for a run, with as many cores as its threads and the processes that read images use. Raises RunError."""
    workers = preset.data.workers
    cores = CORES_FOR_AUTO if workers == "auto" else CORES + workers
    cards = resources.processes if wants_cards(preset, gpus) else 0
    return SlurmJob(name, resources.nodes, cards, resources.processes * cores, array)


def train_file(request: LaunchRequest, loaded: "LoadedPreset", run: RunDirectory, rbp: Sequence[str]) -> str:
    """The text of a job file that trains the run of a request; `rbp` is the command line of this `rbp`.

    Partition and memory are for the user to fill in. Raises RunError for cards that a job cannot ask for.
    """
    takes = request.options.takes
    job = job_of(loaded.preset, run.id, takes, request.options.gpus)
    words = [*rbp, "train", *request.words, *device_words(loaded.preset, job)]
    options = ["--id", run.id, "--resume-or-start", *in_a_job(request.options, run.path.parent).words]
    quoted = shlex.join(options).replace(shlex.quote(RENDEZVOUS), f'"{RENDEZVOUS}"')  # the shell is to substitute it
    return script(job, f"{shlex.join(words)} \\\n    {quoted}", _FIND_RENDEZVOUS if takes.nodes > 1 else ())


def in_a_job(options: LaunchOptions, runs: Path) -> LaunchOptions:
    """The options of a command in a job: nodes meet where Slurm says, and Slurm takes the place of the queue.

    `runs` is the runs directory.
    """
    takes = options.resources
    if takes is not None and takes.nodes > 1:
        takes = replace(takes, rendezvous=one_line(RENDEZVOUS))
    return replace(options, runs_dir=runs.resolve(), resources=takes, gpus=None)


def device_words(preset: "Preset", job: SlurmJob) -> list[str]:
    """The override that keeps a job without cards from computing on those of others, which it may see."""
    return ["run.device=cpu"] if not job.cards and preset.run.device == "auto" else []


def script(job: SlurmJob, command: str, before: Sequence[str] = ()) -> str:
    """A job file around a command, quoted for the shell, that ends with `PREEMPTED_CODE` if it is to be continued.

    `before` are lines that set what the shell substitutes in the command.
    """
    if job.cards:
        cards = [
            "# A card for each process. To train without: remove this line, and add run.device=cpu to the command.",
            f"#SBATCH --gpus-per-node={job.cards}",
        ]
    else:
        cards = ["# No card. For one: add #SBATCH --gpus-per-node=1, and have run.device=cuda in the command."]
    lines = [
        "#!/bin/bash",
        "# To fill in: partition, memory and time, as #SBATCH lines.",
        f"#SBATCH --job-name={job.name}",
        *([f"#SBATCH --array={job.array}"] if job.array else []),
        f"#SBATCH --nodes={job.nodes}",
        "#SBATCH --ntasks-per-node=1",
        *cards,
        "# The run uses as many threads, and with data.workers = auto as many readers, as there are cores.",
        f"#SBATCH --cpus-per-task={job.cores}",
        "#SBATCH --time=24:00:00",
        "# The warning before the end of that time, in which a step and a save must fit.",
        f"#SBATCH --signal=USR1@{WARNING_S}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={job.name}-{'%A_%a' if job.array else '%j'}.log",
        "",
        f"cd {shlex.quote(str(Path.cwd()))} || exit",
        *before,
        # Some versions of srun, from 22.05 on, do not take over what the job has asked for.
        f'srun --cpus-per-task="$SLURM_CPUS_PER_TASK" {command}',
        "code=$?",
        f"# {PREEMPTED_CODE}: warned of the time limit, it has saved a checkpoint; the next start continues there.",
        f"if [ $code -eq {PREEMPTED_CODE} ]; then",
        # The last task of an array has the id of the array, by which all of them would be requeued.
        f'    scontrol requeue "{"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if job.array else "$SLURM_JOB_ID"}"',
        "fi",
        "exit $code",
    ]
    return "\n".join(lines) + "\n"
