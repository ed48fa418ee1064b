"""The environment of a worker."""

import os
from pathlib import Path

import pytest

from rbp_engine.bench.measure import measurement
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.launch import launch


def test_the_processes_share_the_cores_unless_the_user_sets_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))
    assert launch.environment(RunDirectory(tmp_path), Asked(), 1)["OMP_NUM_THREADS"] == str(cores)
    assert (
        launch.environment(RunDirectory(tmp_path), Asked(resources=Resources(2 * cores)), 1)["OMP_NUM_THREADS"] == "1"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert launch.environment(RunDirectory(tmp_path), Asked(resources=Resources(2)), 1)["OMP_NUM_THREADS"] == "7"


def test_the_users_settings_take_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    environment = launch.environment(RunDirectory(tmp_path), Asked(), 1)
    assert (environment["MALLOC_TRIM_THRESHOLD_"], environment["MALLOC_MMAP_MAX_"]) == ("131072", "0")


def test_a_worker_numbers_cards_like_nvidia_smi_unless_the_user_sets_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    run = RunDirectory(tmp_path)
    assert launch.environment(run, Asked(), 1)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert measurement.environment(run)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert launch.environment(run, Asked(), 1)["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
