"""The command that starts several processes of a run: torch.distributed.run, one on every node, as a subprocess.

Its exit code says nothing of how the run ended, and in this process it would take over signals and load torch.
"""

from pathlib import Path

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.launch.environment import module_command

# A save that a signal has asked for must be done within this, or torchrun kills the processes.
SHUTDOWN_TIMEOUT_S = 120
# SIGHUP and SIGQUIT are torchrun's own; a scheduler's warnings would end it, and its processes with it, unsaved.
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"


def torchrun_command(run: RunDirectory, resources: Resources, worker: str) -> list[str]:
    """The command line of the launcher on one node; the same on every one."""
    words = {
        "--nnodes": str(resources.nodes),
        "--nproc-per-node": str(resources.processes),
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": resources.rendezvous or "localhost:0",
        "--rdzv-id": run.id,
        "--max-restarts": "0",
        "--log-dir": str(run.ranks.resolve()),
        "--redirects": "3",
    }
    options = [word for pair in words.items() for word in pair]
    return module_command("torch.distributed.run", *options, "-m", worker, str(run.path.resolve()))


def torchrun_environment(run: RunDirectory, attempt: int, node: int) -> dict[str, str]:
    """What a launcher reads from its environment."""
    return {
        "TORCHELASTIC_ERROR_FILE": str(launcher_log(run, attempt, node).with_suffix(".error.json").resolve()),
        # These two as variables, because older versions of torch refuse options that they do not know.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_TIMEOUT_S),
        "PET_SIGNALS_TO_HANDLE": SIGNALS,
        "PYTHONSAFEPATH": "1",  # -P for the processes that it starts
    }


def launcher_log(run: RunDirectory, attempt: int, node: int) -> Path:
    """What the launcher on a node prints."""
    return run.ranks / f"launcher-{attempt}-node{node}.log"
