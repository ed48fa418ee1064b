"""The System screen over real processes that carry a run's marker."""

import os
import subprocess
import sys
from dataclasses import asdict

import pytest
from textual.widgets import Static

from rbp_engine import os_process
from rbp_engine.run.status import processes
from rbp_tui.dashboard.command_palette import commands_of_keys
from rbp_tui.dashboard.dialogs import Confirm
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.reading import machine_watch
from rbp_tui.dashboard.system.system_screen import UseTable
from rbp_tui.dashboard.text_line import Line
from tests.run_files import change_summary, write_attempt


@pytest.fixture
def live_run(home, write_run):
    """Make a run that is live according to its files; with `process`, a process carries its marker."""
    started, made = [], []

    def make(seed, *, process=True, host=""):
        run = write_run(home / "runs", f"run-{seed}", seed=seed, status="running")
        made.append(run)
        pid = os.getpid()
        if process:
            environment = os.environ | processes.marker(run)
            started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment))
            pid = started[-1].pid
        elsewhere = {"host": host, "boot": "another"} if host else {}
        write_attempt(run, process=asdict(os_process.of(pid)) | elsewhere)
        return run, (started[-1] if process else None)

    yield make
    for process in started:
        process.kill()
        process.wait()
    for run in made:
        change_summary(run, status="completed")


def row_of(app, run):
    table = app.screen.query_one(UseTable)
    known = {key.value: key for key in table.rows}
    key = known.get(str(run.path))
    return [str(cell) for cell in table.get_row(key)] if key else []


async def test_it_shows_usage_and_host_of_live_runs_and_missing_processes(dashboard, until, live_run, monkeypatch):
    monkeypatch.setattr(machine_watch, "EVERY_S", 0.2)
    (here, process), bare = live_run(1), live_run(2, process=False)[0]
    away, _ = live_run(3, process=False, host="node7")
    again, _ = live_run(4, process=False)
    change_summary(again, status="queued")
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: row_of(dashboard, here)[3:4] == ["1"])
        assert row_of(dashboard, here)[4].endswith("iB")
        await until(pilot, lambda: row_of(dashboard, bare)[-1:] == ["process gone"])
        await until(pilot, lambda: row_of(dashboard, away)[-1:] == ["on host node7"])
        assert row_of(dashboard, again)[-1:] == ["queued"]
        text = dashboard.screen.query_one("#machine", Line).shown.plain
        assert f"of {os.cpu_count()} busy" in text and "GiB free" in text and ("GPU" in text or "gpu0" in text)
        process.kill()
        process.wait()
        # The reader of runs then notices that the run is lost, and the row disappears.
        await until(pilot, lambda: row_of(dashboard, here)[-1:] != ["–"])


async def test_the_cursor_stays_on_its_run_and_enter_opens_it(dashboard, until, live_run):
    first, second = live_run(1, process=False)[0], live_run(2, process=False)[0]
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: row_of(dashboard, first) and row_of(dashboard, second))
        table = dashboard.screen.query_one(UseTable)
        while table.current_key != str(second.path):
            await pilot.press("down")
        table.show_rows({key.value: tuple(table.get_row(key)) for key in reversed(table.rows)})
        assert table.current_key == str(second.path)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(dashboard.screen, MonitorScreen))
        assert dashboard.session.opened == second.id


async def test_the_keys_of_runs_and_the_palette_act_on_the_run_under_the_cursor(dashboard, until, live_run):
    run = live_run(1)[0]
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: row_of(dashboard, run) and dashboard.screen.targets)
        commands = [command.title for command in commands_of_keys(dashboard, dashboard.screen)]
        assert {"Stop: after saving", "Tags", "Make a preset of the run"} <= set(commands)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(dashboard.screen, Confirm))
        await pilot.press("enter")
        await until(pilot, run.stop_request.exists)


async def test_it_says_when_no_run_is_live_and_reads_only_while_shown(dashboard, until, monkeypatch):
    monkeypatch.setattr(machine_watch, "EVERY_S", 0.05)
    watch = dashboard.session.machine
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: dashboard.session.listed)
        assert watch.sight is None
        await pilot.press("5")
        empty = dashboard.screen.query_one("#empty", Static)
        # Tests running in parallel may have runs.
        await until(pilot, lambda: watch.sight and (watch.sight.uses or "No run is live" in str(empty.render())))


async def test_the_first_reading_knows_how_busy_the_cores_are(dashboard, until):
    with subprocess.Popen(["yes"], stdout=subprocess.DEVNULL) as busy:
        watch = dashboard.session.machine
        async with dashboard.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: dashboard.session.listed)
            await pilot.press("5")
            await until(pilot, lambda: watch.sight)
        busy.kill()
    assert sum(watch.sight.cores) > 0.0


async def test_a_machine_that_cannot_be_read_is_told(dashboard, until, monkeypatch):
    def fail(self, records):
        raise OSError("no /proc here")

    monkeypatch.setattr(machine_watch.MachineWatch, "read", fail)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "no /proc here" in str(dashboard.screen.query_one("#empty", Static).render()))
