import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.launch.torchrun import torchrun_environment, worker_command

RUN = RunDirectory(Path("/runs/job"))


def test_one_process_is_the_worker_itself() -> None:
    assert worker_command(RUN, Resources()) == [sys.executable, "-P", "-m", "rbp_engine.train.worker", "/runs/job"]


@pytest.mark.parametrize(
    ("resources", "endpoint"),
    [(Resources(2, 1, "evil.example:1"), "localhost:0"), (Resources(4, 3, "head:29400"), "head:29400")],
)
def test_several_processes_are_the_worker_under_torchrun(resources: Resources, endpoint: str) -> None:
    assert worker_command(RUN, resources) == shlex.split(
        f"{sys.executable} -P -m torch.distributed.run --nnodes {resources.nodes} "
        f"--nproc-per-node {resources.processes} --rdzv-backend c10d --rdzv-endpoint {endpoint} --rdzv-id job "
        "--max-restarts 0 --log-dir /runs/job/ranks --redirects 3 -m rbp_engine.train.worker /runs/job"
    )


def test_torchrun_understands_its_command_and_its_environment() -> None:
    """A name that another version of torch has changed would be ignored silently."""
    words = worker_command(RUN, Resources(2))[4:]
    script = f"""
        from torch.distributed.run import config_from_args, parse_args
        config, command, words = config_from_args(parse_args({words!r}))
        print(config.run_id, config.shutdown_timeout, config.signals_to_handle, config.max_restarts, words[1:])
    """
    environment = os.environ | torchrun_environment(RUN, 1, 0) | {"OMP_NUM_THREADS": "1"}
    output = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert output.strip() == (
        "job 120 SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2 0 ['-m', 'rbp_engine.train.worker', '/runs/job']"
    )
