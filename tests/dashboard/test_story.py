"""A whole visit with real workers: launch, watch, stop, resume, leave, come back."""

import os

from idle import IDLE
from textual.widgets import DataTable, Input, Static

from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.status.status import judge
from rbp_tui.dashboard.compare.compare_screen import CompareScreen
from rbp_tui.dashboard.dialogs import ConfirmLeaving
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.monitor.log_pane import LogPane
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.presets.presets_screen import PresetsScreen
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.screen_base import SCREENS
from tests.dashboard.screen_pictures import screen_text
from tests.waiting import wait_for


def only_run(app):
    (path,) = app.session.runs.iterdir()
    return RunDirectory(path)


async def launch(app, pilot, until, words):
    await pilot.press("1")
    await until(pilot, lambda: isinstance(app.screen, PresetsScreen))
    app.screen.choose("digits")
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, LaunchForm))
    app.screen.query_one("#overrides", Input).value = words
    await pilot.pause()
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


async def test_a_run_is_launched_watched_stopped_resumed_completed_and_compared(dashboard, until, monkeypatch):
    app = dashboard
    monkeypatch.setenv("IDLE_STEP_S", "0.2")  # until it is stopped, and no time afterwards
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PresetsScreen))
        await launch(app, pilot, until, f"T=1 epochs=20 batch=256 {' '.join(IDLE)}")
        run = only_run(app)
        await until(pilot, lambda: any("epoch 1:" in line for line in app.screen.query_one(LogPane).lines.lines))
        await until(
            pilot, lambda: (seen := app.session.sights.get(run.id)) and "validation/top1" in seen.history.curves
        )
        assert [chart.title for chart in app.screen.query("#charts CurveChart")] == ["loss", "top-1 %"]
        before = len(app.session.sights.get(run.id).history.curves["validation/top1"])
        await until(pilot, lambda: len(app.session.sights.get(run.id).history.curves["validation/top1"]) > before)
        await pilot.press("s", "enter")
        await until(pilot, lambda: judge(run).status == "stopped")
        await until(pilot, lambda: "STOPPED" in str(app.screen.query_one("#title", Static).render()))
        monkeypatch.setenv("IDLE_STEP_S", "0")
        await pilot.press("r")
        await until(pilot, lambda: judge(run).status == "completed", timeout=120)
        await until(pilot, lambda: "COMPLETED" in str(app.screen.query_one("#title", Static).render()))
        await pilot.press("2")
        await until(
            pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen.query_one(DataTable).row_count == 1
        )
        await pilot.press("space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await pilot.press("q")
    assert judge(run).status == "completed"


async def test_a_run_goes_on_when_the_dashboard_is_left(dashboard, until):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen))
        await launch(dashboard, pilot, until, f"T=1 epochs=5000 batch=256 {' '.join(IDLE)}")
        run = only_run(dashboard)
        await until(pilot, lambda: judge(run).status == "running" and dashboard.session.live)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(dashboard.screen, ConfirmLeaving))
        await pilot.press("q")
        await until(pilot, lambda: not dashboard.is_running)
    worker, left = last_attempt(run).process.pid, load_summary(run).step
    assert os.getsid(worker) == worker, "so that neither a kill of the dashboard nor its terminal's end reaches it"
    wait_for(lambda: load_summary(run).step > left)


#: What a screen says without runs.
SAID = {
    "2": "rbp train digits", "3": "No run to show; 2 shows the runs.", "4": "Nothing to compare",
}  # fmt: skip
#: Keys that do something of a run.
OF_RUNS = {"stop", "kill", "resume", "find", "axis", "mark", "compare_open", "pin", "group"}


async def test_without_runs_every_screen_and_its_help_work_and_say_what_to_do_and_offer_no_useless_keys(
    dashboard, until
):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        for key, name in zip("123456", SCREENS, strict=True):
            await pilot.press(key)
            await until(pilot, lambda name=name: getattr(dashboard.screen, "NAME", "") == name)
            await until(pilot, lambda key=key: SAID.get(key, "") in screen_text(dashboard))
            if key == "2":
                assert str(dashboard.session.runs) in str(dashboard.screen.query_one("#empty", Static).render())
                await pilot.press("space", "a", "s", "k", "x", "u", "g", "i", "greater_than_sign", "enter", "escape")
            if key in "34":
                enabled = [one.binding for one in dashboard.screen.active_bindings.values() if one.enabled]
                assert not OF_RUNS & {name for binding in enabled for name in (binding.action, binding.id)}
            await pilot.press("question_mark")
            await pilot.pause()
            await pilot.press("question_mark")
