"""Threads of a script sleep while they wait, if OpenMP can still be told; where it cannot, a warning says so."""

import os
import subprocess
import sys

TOLD = "import ctypes; get = ctypes.CDLL(None).getenv; get.restype = ctypes.c_char_p; print(get(b'OMP_WAIT_POLICY'));"
TRAIN = """
import threading
from torch import nn
from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF
network, method = nn.Sequential(nn.Linear(4, 4), LIF(), nn.Linear(4, 3)), create_method("rate_m", timesteps=2)
for _ in range(2):
    method.step(network, torch.rand(2, 4), torch.tensor([0, 1]))
print([thread.name for thread in threading.enumerate()])
"""
QUIET = "import os; os.getloadavg = lambda: (0.1, 0.0, 0.0)\n"
BUSY = "import os; os.getloadavg = lambda: (2.0 * len(os.sched_getaffinity(0)), 0.0, 0.0)\n"
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


def test_openmp_is_told_before_torch_and_processes_that_a_script_starts_are_not():
    assert run(f"import os, rbp_engine; {TOLD} print(os.environ.get('OMP_WAIT_POLICY'))").stdout == "b'PASSIVE'\nNone\n"


def test_what_the_user_has_set_is_kept():
    assert run(f"import rbp_engine; {TOLD}", OMP_WAIT_POLICY="ACTIVE").stdout == "b'ACTIVE'\n"
    assert run(f"import rbp_engine; {TOLD}", GOMP_SPINCOUNT="5").stdout == "None\n"


def test_on_a_busy_machine_a_script_that_imports_torch_first_is_told_once():
    found = run(f"import torch\n{BUSY}{TRAIN}")
    assert found.stderr.count(WARNING) == 1
    assert found.stdout == "['MainThread']\n"


def test_it_is_not_told_if_its_threads_sleep_anyway():
    assert WARNING not in run(f"import rbp_engine, torch\n{BUSY}{TRAIN}").stderr
    assert WARNING not in run(f"import torch\n{BUSY}{TRAIN}", OMP_WAIT_POLICY="PASSIVE").stderr


def test_it_is_not_told_while_no_other_program_runs():
    assert WARNING not in run(f"import torch\n{QUIET}{TRAIN}").stderr
