"""Keys that come faster than what they open."""

import threading
import time

from textual import events

from rbp_engine.run.store.listing import RunList
from rbp_engine.run.store.store import list_runs
from rbp_tui.dashboard.dialogs import Ask
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.presets.presets_screen import PresetsScreen
from rbp_tui.dashboard.runs.runs_screen import RunsScreen


def type_at_once(dashboard, *keys):
    """As fast as a terminal sends them."""
    for key in keys:
        dashboard._driver.process_message(events.Key(key, key if len(key) == 1 else None))


async def test_text_typed_before_its_dialog_is_open_goes_to_the_dialog(dashboard, until, home, write_run, monkeypatch):
    """On a machine so busy that the dialog is late."""
    compose = Ask.compose
    monkeypatch.setattr(Ask, "compose", lambda dialog: time.sleep(0.1) or compose(dialog))
    for name in ("one", "two", "three"):
        write_run(home / "runs", name)
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, RunsScreen) and dashboard.screen.targets)
        type_at_once(dashboard, "down", "t", *"xakg", "enter", "t", *"bw", "enter", "n", *"gx", "ctrl+s")
        await until(pilot, lambda: any(record.annotations.note for record in list_runs(home / "runs")))
        found = {record.run.id: (record.tags, record.annotations.note) for record in list_runs(home / "runs")}
        assert sorted(found.values()) == [((), ""), ((), ""), (("xakg", "bw"), "gx")]
        assert found[dashboard.screen.targets[0].run.id][1] == "gx" and len(dashboard.screen.targets) == 1


async def test_two_quick_enters_on_a_preset_open_one_launch_form(dashboard, until):
    async with dashboard.run_test() as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen) and dashboard.screen.presets.entries)
        type_at_once(dashboard, "enter", "enter")
        await until(pilot, lambda: isinstance(dashboard.screen, LaunchForm))
        await until(pilot, lambda: str(dashboard.screen.query_one("#verdict").content))
        assert sum(isinstance(screen, LaunchForm) for screen in dashboard.screen_stack) == 1
        assert not dashboard.screen.launching


async def test_enter_typed_before_its_screen_or_dialog_is_there_goes_to_it(dashboard, until, home, write_run):
    run = write_run(home / "runs", "one")
    async with dashboard.run_test() as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, RunsScreen) and dashboard.screen.targets)
        type_at_once(dashboard, "t", "enter", "t", "x", "enter", "1", "2", "enter")
        await until(pilot, lambda: isinstance(dashboard.screen, MonitorScreen))
        assert dashboard.session.opened == "one"
        await until(pilot, lambda: not [worker for worker in dashboard.workers if worker.group == "acting"])
        assert [record.tags for record in list_runs(run.path.parent)] == [("x",)]


async def test_enter_before_the_runs_have_been_read_opens_the_newest(dashboard, until, home, write_run, monkeypatch):
    read, read_all = threading.Event(), RunList.all
    monkeypatch.setattr(RunList, "all", lambda listing: read.wait(60) and read_all(listing))
    write_run(home / "runs", "one")
    async with dashboard.run_test() as pilot:
        type_at_once(dashboard, "enter", "t", "x", "enter")
        await pilot.pause(0.05)
        read.set()
        await until(pilot, lambda: isinstance(dashboard.screen, MonitorScreen))
        assert dashboard.session.opened == "one"
        await until(pilot, lambda: [record.tags for record in list_runs(home / "runs")] == [("x",)])
        type_at_once(dashboard, "q")
        await until(pilot, lambda: not dashboard.is_running)


async def test_no_key_waits_for_runs_that_are_not_read_if_it_needs_none(dashboard, until, home, write_run, monkeypatch):
    read = threading.Event()
    monkeypatch.setattr(RunList, "all", lambda listing: read.wait(60) and ())
    write_run(home / "runs", "one")
    async with dashboard.run_test() as pilot:
        type_at_once(dashboard, "1", "enter")
        await until(pilot, lambda: isinstance(dashboard.screen, LaunchForm))
        read.set()
