"""Tests that need a GPU. `make gpu` runs them; RBP_TEST_DEVICE=cpu runs those that also work on a CPU."""

import json
import os
from pathlib import Path

import pytest
import torch

from rbp_engine.train.device import DeviceError, choose_device


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device under test: RBP_TEST_DEVICE, `cuda` or `cpu`."""
    wanted = os.environ.get("RBP_TEST_DEVICE")
    if wanted is None:
        pytest.skip("make gpu runs this")
    try:
        return choose_device(wanted)
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def card(device: torch.device) -> torch.device:
    """A GPU, for tests that do not work on a CPU."""
    if device.type != "cuda":
        pytest.skip("it is about a card, and RBP_TEST_DEVICE=cpu")
    return device


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the result of a test at once, because benchmarks/gpu_report.py stops waiting after a while."""
    results = os.environ.get("RBP_TEST_RESULTS")
    if not results or (report.when != "call" and report.passed):
        return
    reason = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
    elif report.failed:
        reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
    with Path(results).open("a", encoding="utf-8") as file:
        result = {"name": report.nodeid.rpartition("::")[2], "outcome": report.outcome, "told": reason}
        file.write(json.dumps(result) + "\n")
