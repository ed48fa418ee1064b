"""The rank of this process in the run. Without torch, because it is needed before torch is loaded."""

import ctypes
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.processes import marker

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class RankProcess:
    """Rank `rank` of `world_size`, with number `local_rank` on this host, which is one of `nodes`.

    `logs` is the folder of its stdout and stderr.
    """

    logs: Path
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    nodes: int = 1

    @classmethod
    def of(cls, run: RunDirectory, environment: Mapping[str, str] = os.environ) -> "RankProcess":
        """This process of the run. Ignores the variables of a torchrun that belongs to something else."""
        if environment.get("TORCHELASTIC_RUN_ID") != run.id:
            return cls(run.stdout().parent)
        return cls(
            logs=Path(environment["TORCHELASTIC_ERROR_FILE"]).parent,
            rank=int(environment["RANK"]),
            local_rank=int(environment["LOCAL_RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            nodes=int(environment["GROUP_WORLD_SIZE"]),
        )


def end_with_parent(run: RunDirectory) -> None:
    """Have the kernel kill this process when its parent, torchrun, dies: it would otherwise train on as an orphan.

    Only for ranks under torchrun. The kernel sends the signal when the thread that started the process ends, so a
    single worker would die with a thread of the dashboard.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # torchrun may already have died; then the parent is init or another process without the run's marker.
    try:
        environment = psutil.Process(os.getppid()).environ()
    except (psutil.Error, OSError):
        environment = {}
    if not marker(run).items() <= environment.items():
        os.kill(os.getpid(), signal.SIGKILL)
