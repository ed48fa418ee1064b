"""Keys that come faster than what they open."""

import time

from textual import events

from rbp_engine.run.store.store import list_runs
from rbp_tui.dashboard.dialogs import Ask
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.presets.screen import PresetsScreen
from rbp_tui.dashboard.runs.screen import RunsScreen


async def test_text_typed_before_its_dialog_is_open_goes_to_the_dialog(dashboard, until, home, write_run, monkeypatch):
    """As fast as a terminal sends it, on a machine so busy that the dialog is late."""
    compose = Ask.compose
    monkeypatch.setattr(Ask, "compose", lambda dialog: time.sleep(0.1) or compose(dialog))
    for name in ("one", "two", "three"):
        write_run(home / "runs", name)
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, RunsScreen) and dashboard.screen.targets)
        for key in ("down", "t", *"xakg", "enter", "t", *"bw", "enter", "n", *"gx", "ctrl+s"):
            dashboard._driver.process_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: any(record.annotations.note for record in list_runs(home / "runs")))
        found = {record.run.id: (record.tags, record.annotations.note) for record in list_runs(home / "runs")}
        assert sorted(found.values()) == [((), ""), ((), ""), (("xakg", "bw"), "gx")]
        assert found[dashboard.screen.targets[0].run.id][1] == "gx" and len(dashboard.screen.targets) == 1


async def test_two_quick_enters_on_a_preset_open_one_launch_form(dashboard, until):
    async with dashboard.run_test() as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen) and dashboard.screen.presets.entries)
        for _ in range(2):
            dashboard._driver.process_message(events.Key("enter", "\r"))
        await until(pilot, lambda: isinstance(dashboard.screen, LaunchForm))
        await until(pilot, lambda: str(dashboard.screen.query_one("#verdict").content))
        assert sum(isinstance(screen, LaunchForm) for screen in dashboard.screen_stack) == 1
        assert not dashboard.screen.launching
