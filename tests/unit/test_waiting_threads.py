"""Threads of a script sleep while they wait, if OpenMP can still be told."""

import os
import subprocess
import sys

import pytest

TOLD = "import ctypes; get = ctypes.CDLL(None).getenv; get.restype = ctypes.c_char_p; print(get(b'OMP_WAIT_POLICY'));"
TRAIN = """
from torch import nn
from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF
network, method = nn.Sequential(nn.Linear(4, 4), LIF(), nn.Linear(4, 3)), create_method("rate_m", timesteps=2)
for _ in range(3):
    method.step(network, torch.rand(2, 4), torch.tensor([0, 1]))
"""
TEAMS = "import threading; print(sum(thread.name == 'OpenMP team' for thread in threading.enumerate()))"
THREADS = "import os; print(len(os.listdir('/proc/self/task')))"


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


@pytest.mark.skipif(sys.platform != "linux", reason="torch has GNU's OpenMP on Linux")
def test_where_torch_came_first_openmp_knows_of_more_threads_than_cores() -> None:
    found = run(f"import torch\n{TRAIN}{THREADS}")
    assert found.stderr.count("its threads sleep at once while they wait") == 1
    assert int(found.stdout) > len(os.sched_getaffinity(0))


def test_where_torch_came_first_openmp_is_left_alone_if_its_threads_sleep_anyway() -> None:
    for said in ({"OMP_WAIT_POLICY": "PASSIVE"}, {"OMP_NUM_THREADS": "1"}):
        assert run(f"import torch\n{TRAIN}{TEAMS}", **said).stdout == "0\n"


def test_with_another_openmp_a_script_that_imports_torch_first_is_told_once() -> None:
    another = "from pathlib import Path; Path.read_text = lambda *_: 'libiomp5.so'"
    assert run(f"import torch\n{another}\n{TRAIN}").stderr.count("its threads spin while they wait") == 1
    assert run(f"import rbp_engine, torch\n{another}\n{TRAIN}").stderr == ""
