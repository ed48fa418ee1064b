"""The dashboard over a runs directory of its own, with real workers."""

import asyncio
import os
import time

import pytest

from rbp_engine.run import control
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import judge
from rbp_tui.dashboard.app import Dashboard


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with no settings; workers find the package and use one thread."""
    for name in list(os.environ):
        if name.startswith("RBP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return tmp_path


@pytest.fixture
def dashboard(home):
    """A dashboard; whatever run it leaves alive is killed at the end."""
    app = Dashboard(home / "runs")
    yield app
    if app.runs.is_dir():
        for path in app.runs.iterdir():
            run = RunDirectory(path)
            if judge(run).live:
                control.kill(run)


@pytest.fixture
def until():
    """Wait for something to become true while the app goes on."""

    async def wait(pilot, condition, timeout=60.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            await pilot.pause()
            await asyncio.sleep(0.05)

    return wait
