"""The command that starts the processes of a run; for several, torch.distributed.run, once per node.

It is a subprocess, since it takes over signals and loads torch. Its exit code does not say how the run ended.
"""

from pathlib import Path

from rbp_engine.run import trust
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.launch.environment import module_command

WORKER = "rbp_engine.train.worker"
# A save requested by a signal must be complete within this time, or torchrun kills the processes.
SHUTDOWN_TIMEOUT_S = 120
# SIGHUP and SIGQUIT are torchrun's defaults. Without SIGUSR1 and SIGUSR2, a scheduler's warning would end torchrun, and
# its processes unsaved.
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"


def worker_command(run: RunDirectory, resources: Resources) -> list[str]:
    """The command line of the worker, or of the launcher of several, the same on every node."""
    folder = str(run.path.resolve())
    if resources.world_size == 1:
        return module_command(WORKER, folder)
    words = {
        "--nnodes": str(resources.nodes),
        "--nproc-per-node": str(resources.processes),
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": trust.rendezvous_of(resources) or "localhost:0",
        "--rdzv-id": run.id,
        "--max-restarts": "0",
        "--log-dir": str(run.ranks.resolve()),
        "--redirects": "3",
    }
    options = [word for pair in words.items() for word in pair]
    return module_command("torch.distributed.run", *options, "-m", WORKER, folder)


def torchrun_environment(run: RunDirectory, attempt: int, node: int) -> dict[str, str]:
    """The environment variables for a launcher."""
    return {
        "TORCHELASTIC_ERROR_FILE": str(launcher_log(run, attempt, node).with_suffix(".error.json").resolve()),
        # These two are variables because older versions of torch reject unknown options.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_TIMEOUT_S),
        "PET_SIGNALS_TO_HANDLE": SIGNALS,
        "PYTHONSAFEPATH": "1",  # -P for the processes that it starts
    }


def launcher_log(run: RunDirectory, attempt: int, node: int) -> Path:
    """The file for the output of the launcher on a node."""
    return run.ranks / f"launcher-{attempt}-node{node}.log"
