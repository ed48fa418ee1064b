"""How a worker is started: its command and its environment."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rbp_engine.bench.measure import measurement
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.launch import launch
from rbp_engine.run.launch.torchrun import torchrun_environment, worker_command

RUN = RunDirectory(Path("/runs/job"))


@pytest.mark.parametrize(
    ("resources", "endpoint"),
    [(Resources(2, 1, "evil.example:1"), "localhost:0"), (Resources(4, 3, "head:29400"), "head:29400")],
)
def test_one_process_is_the_worker_itself_and_several_are_workers_under_torchrun(resources, endpoint):
    assert worker_command(RUN, Resources()) == [sys.executable, "-P", "-m", "rbp_engine.train.worker", "/runs/job"]
    assert worker_command(RUN, resources) == shlex.split(
        f"{sys.executable} -P -m torch.distributed.run --nnodes {resources.nodes} "
        f"--nproc-per-node {resources.processes} --rdzv-backend c10d --rdzv-endpoint {endpoint} --rdzv-id job "
        "--max-restarts 0 --log-dir /runs/job/ranks --redirects 3 -m rbp_engine.train.worker /runs/job"
    )


def test_torchrun_understands_its_command_and_its_environment(tmp_path):
    """A name that another version of torch has changed would be ignored silently."""
    run = RunDirectory(tmp_path / "job")  # torchrun makes the folder for its logs
    words = worker_command(run, Resources(2))[4:]
    script = f"""
        from torch.distributed.run import config_from_args, parse_args
        config, command, words = config_from_args(parse_args({words!r}))
        print(config.run_id, config.shutdown_timeout, config.signals_to_handle, config.max_restarts, words[1:])
    """
    environment = os.environ | torchrun_environment(run, 1, 0) | {"OMP_NUM_THREADS": "1"}
    output = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert output.strip() == (
        f"job 120 SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2 0 ['-m', 'rbp_engine.train.worker', '{run.path}']"
    )


def test_the_processes_share_the_cores_unless_the_user_sets_threads(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))

    def threads(processes: int) -> str:
        return launch.environment(RunDirectory(tmp_path), processes, 1)["OMP_NUM_THREADS"]

    assert (threads(1), threads(2 * cores)) == (str(cores), "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads(2) == "7"


def test_what_rbp_sets_for_a_worker_gives_way_to_what_the_user_has_set(tmp_path, monkeypatch):
    for name in ("CUDA_DEVICE_ORDER", "MALLOC_MMAP_MAX_"):
        monkeypatch.delenv(name, raising=False)
    run = RunDirectory(tmp_path)
    for found in (launch.environment(run, 1, 1), measurement.environment(run)):
        assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"  # as nvidia-smi numbers cards
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    found = launch.environment(run, 1, 1)
    assert (found["CUDA_DEVICE_ORDER"], found["MALLOC_TRIM_THRESHOLD_"]) == ("FASTEST_FIRST", "131072")
    assert found["MALLOC_MMAP_MAX_"] == "0"
