"""Threads of a script sleep while they wait, if OpenMP can still be told; where it cannot, a warning says so."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

TOLD = "import ctypes; get = ctypes.CDLL(None).getenv; get.restype = ctypes.c_char_p; print(get(b'OMP_WAIT_POLICY'));"
TRAIN = """
import threading, time
from torch import nn
from rbp_engine.methods import create_method, waiting_threads
from rbp_engine.spiking import LIF
network, method = nn.Sequential(nn.Linear(4, 4), LIF(), nn.Linear(4, 3)), create_method("rate_m", timesteps=2)
waiting_threads.LOOK_S = 0.2
for _ in range(4):
    method.step(network, torch.rand(2, 4), torch.tensor([0, 1]))
    time.sleep(waiting_threads.LOOK_S)
print([thread.name for thread in threading.enumerate()])
"""
# A neighbour is a large part of two cores, and a small one of many.
TWO_CORES = f"import os; os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[:2]})\n"
# The counters of a machine on which nothing else runs.
QUIET = "import psutil; counters = psutil.cpu_times(percpu=True); psutil.cpu_times = lambda percpu: counters\n"
# Those of one whose cores are busy with other programs, without the time that these would take from the test.
BUSY = """
import psutil, time
counters = psutil.cpu_times(percpu=True)
psutil.cpu_times = lambda percpu: [each._replace(user=each.user + time.monotonic()) for each in counters]
"""
WARNING = "torch was imported before rbp_engine, so its threads spin"


def run(script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=plain | {"OMP_NUM_THREADS": "2"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )


def test_openmp_is_told_before_torch_and_processes_that_a_script_starts_are_not() -> None:
    assert run(f"import os, rbp_engine; {TOLD} print(os.environ.get('OMP_WAIT_POLICY'))").stdout == "b'PASSIVE'\nNone\n"


def test_what_the_user_has_set_is_kept() -> None:
    assert run(f"import rbp_engine; {TOLD}", OMP_WAIT_POLICY="ACTIVE").stdout == "b'ACTIVE'\n"
    assert run(f"import rbp_engine; {TOLD}", GOMP_SPINCOUNT="5").stdout == "None\n"


@pytest.fixture
def busy_neighbour() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", f"{TWO_CORES}while True: pass"]) as neighbour:
        yield
        neighbour.kill()


@pytest.mark.usefixtures("busy_neighbour")
def test_beside_a_busy_program_a_script_that_imports_torch_first_is_told_once() -> None:
    found = run(f"{TWO_CORES}import torch\n{TRAIN}")
    assert found.stderr.count(WARNING) == 1
    assert found.stdout == "['MainThread']\n"


def test_it_is_not_told_if_its_threads_sleep_anyway() -> None:
    assert WARNING in run(f"import torch\n{BUSY}{TRAIN}").stderr
    assert WARNING not in run(f"import rbp_engine, torch\n{BUSY}{TRAIN}").stderr
    assert WARNING not in run(f"import torch\n{BUSY}{TRAIN}", OMP_WAIT_POLICY="PASSIVE").stderr


def test_it_is_not_told_while_no_other_program_runs() -> None:
    assert WARNING not in run(f"import torch\n{QUIET}{TRAIN}").stderr
