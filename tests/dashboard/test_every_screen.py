"""Pictures of every screen but Compare, which has its own, at two sizes, with the clock stopped."""

import time
from pathlib import Path

import pytest

from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.reading.machine_reader import MachineReader, MachineReading
from rbp_tui.dashboard.sweep.screen import SweepScreen
from tests.dashboard.idle_loop import stand_still
from tests.run_files import change_identity, change_summary

NOW = 1_700_000_000.0
SIZES = [(80, 24), (160, 45)]
MACHINE = MachineReading(
    cards=(),
    no_cards="no NVIDIA driver",
    cores=(0.5, 0.25),
    memory_used=3 * 2**30,
    memory_total=24 * 2**30,
    disk_free=70 * 2**30,
    uses=(),
)


@pytest.fixture
def app(home, end_run, monkeypatch):
    """A dashboard over three finished runs, with a fixed machine and time."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(MachineReader, "read", lambda self: MACHINE)
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
    """A function for the snapshot: go to a screen, and wait until the data read in threads has arrived."""

    def on(key, ready=lambda app: True):
        async def settle(pilot):
            app = pilot.app
            await until(pilot, lambda: len(app.session.records) == 3)
            await pilot.press(key)
            await until(pilot, lambda: ready(app))
            app.clear_notifications()
            await stand_still(pilot)

        return settle

    return on


sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@sizes
def test_presets(app, settled, snap_compare, size):
    assert snap_compare(app, terminal_size=size, run_before=settled("1", lambda app: app.screen.presets.entries))


@sizes
def test_runs(app, settled, snap_compare, size):
    assert snap_compare(app, terminal_size=size, run_before=settled("2"))


@sizes
def test_sweep(app, settled, until, snap_compare, size):
    async def settle(pilot):
        await settled("2", lambda app: app.screen.rows.cells)(pilot)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and app.screen.board.rows)
        await stand_still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


@sizes
def test_monitor(app, settled, snap_compare, size):
    def read(app):
        return app.session.sight_of("rate_m-2") is not None

    app.session.opened = "rate_m-2"
    assert snap_compare(app, terminal_size=size, run_before=settled("3", read))


@sizes
def test_system(app, settled, snap_compare, size):
    def seen(app):
        return app.session.machine.sight is not None and app.session.queue.devices is not None

    assert snap_compare(app, terminal_size=size, run_before=settled("5", seen))
