"""Pictures of every screen at two sizes, with the clock stopped; those of Compare and Network are in their own files,
test_compare_screen.py and test_network_screen.py."""

import time
from pathlib import Path

import pytest

from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.reading.machine_watch import Cards, MachineReading, MachineWatch
from rbp_tui.dashboard.sweep.sweep_screen import SweepScreen
from tests.dashboard.screen_pictures import at
from tests.run_files import change_identity, change_summary

NOW = 1_700_000_000.0
MACHINE = MachineReading(
    gpus=Cards(none_because="no NVIDIA driver"), cores=(0.5, 0.25), uses=(),
    memory_used=3 * 2**30, memory_total=24 * 2**30, disk_free=70 * 2**30,
)  # fmt: skip


@pytest.fixture
def app(home, end_run, monkeypatch):
    """A dashboard over three finished runs, with a fixed machine and time."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(MachineWatch, "read", lambda self, records: MACHINE)
    monkeypatch.chdir(home)
    for seed, method in ((1, "rate_m"), (2, "rate_m"), (1, "bptt")):
        run = end_run(
            home / "runs", f"{method}-{seed}", f"seed={seed}", f"method={method}", curve=[0.7, 0.9 + seed / 100, 0.95]
        )
        run.stdout().write_text("12:00:00 epoch 1: top-1 0.70\n12:00:01 epoch 2: top-1 0.91\n")
        sweep = {"name": "methods", "trial": 1 + (method == "bptt")}
        change_identity(run, host="gpu2", git=None, sweep=sweep)
        change_summary(run, host="gpu2")
        change_identity(run, created=NOW - 60)
    # What the machine has, and what other users have of it.
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "machine.toml").write_text("cpu_slots = 1\nshare_devices = false\n")
    yield Dashboard(Path("runs"))
    time.tzset()


@pytest.fixture
def settled(until):
    """A function for a picture: go to a screen, and wait until the data read in threads has arrived."""

    def on(key, ready=lambda app: True):
        async def settle(pilot):
            app = pilot.app
            await until(pilot, lambda: len(app.session.records) == 3)
            await pilot.press(key)
            await until(pilot, lambda: ready(app))

        return settle

    return on


sizes = at("80x24", "160x45")


@sizes
def test_presets(app, settled, same_picture, size):
    same_picture(app, size, settled("1", lambda app: app.screen.presets.entries))


@sizes
def test_runs(app, settled, same_picture, size):
    same_picture(app, size, settled("2"))


@sizes
def test_sweep(app, settled, until, same_picture, size):
    async def settle(pilot):
        await settled("2", lambda app: app.screen.rows.cells)(pilot)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and app.screen.board.rows)

    same_picture(app, size, settle)


@sizes
def test_monitor(app, settled, same_picture, size):
    def read(app):
        return app.session.sights.get("rate_m-2") is not None

    app.session.opened = "rate_m-2"
    same_picture(app, size, settled("3", read))


@sizes
def test_system(app, settled, same_picture, size):
    def seen(app):
        return app.session.machine.sight is not None and app.session.queue.about is not None

    same_picture(app, size, settled("5", seen))
