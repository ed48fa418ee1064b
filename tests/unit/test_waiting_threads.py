"""Threads of a script sleep while they wait, if OpenMP can still be told; where it cannot, a warning says so."""

import os
import subprocess
import sys
import warnings

import pytest
import torch

from rbp_engine.cores import SLEEP_SOON, let_threads_sleep
from rbp_engine.methods import checks

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


@pytest.mark.parametrize(
    ("load", "threads", "asleep", "told"),
    [(2.0, 2, False, True), (0.1, 2, False, False), (2.0, 1, False, False), (2.0, 2, True, False)],
)
def test_it_is_told_of_threads_that_spin_beside_other_programs_alone(monkeypatch, load, threads, asleep, told):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "getloadavg", lambda: (load * cores, 0.0, 0.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(checks, "let_threads_sleep", lambda: asleep)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        checks.warn_of_spinning_threads.__wrapped__()
    assert [WARNING in str(one.message) for one in found] == [True] * told


def test_after_torch_threads_sleep_only_if_the_user_has_said_so(monkeypatch):
    for name in SLEEP_SOON:
        monkeypatch.delenv(name, raising=False)
    assert not let_threads_sleep.__wrapped__()
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert let_threads_sleep.__wrapped__()
