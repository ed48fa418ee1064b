"""Waiting runs in the dashboard: their place and what they wait for, keys that arrange them, and the devices."""

import pytest

from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.queue import arrange
from rbp_engine.run.queue.entries import entries, new_entry, write_entry
from rbp_engine.run.queue.observe import is_paused
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.runs.run_table import RunTable
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.screen_base import TopBar


@pytest.fixture
def waiting(home, write_run):
    """Three runs that wait in a paused queue, a the first."""
    arrange.set_paused(True)
    for name in "abc":
        run = write_run(home / "runs", name, status="queued", created=1.7e9 + ord(name))
        write_entry(new_entry(run, Asked(dispatch=Dispatch("none")), after=1))
    yield home / "runs"
    for entry in entries():
        entry.path.unlink()


def order():
    return [entry.run.id for entry in entries()]


async def test_waiting_runs_show_their_place_and_are_arranged_by_keys(waiting, until):
    app = Dashboard(waiting)

    def reasons():
        return {record.run.id: str(record.verdict.reason) for record in app.session.records}

    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen.query_one(RunTable).row_count == 3)
        await until(pilot, lambda: reasons().get("c") == "3 in the queue · paused")
        (bar,) = app.screen.query(TopBar)
        assert bar.shown.plain.endswith("   3 queued")  # and none is live
        table = app.screen.query_one(RunTable)
        table.move_cursor(row=0)
        await until(pilot, lambda: table.current_key == "c")
        await pilot.press("shift+up")
        await until(pilot, lambda: order() == ["a", "c", "b"])
        await pilot.press("shift+down")
        await until(pilot, lambda: order() == ["a", "b", "c"])
        app.screen.action_to_front()
        await until(pilot, lambda: order() == ["c", "a", "b"])
        await until(pilot, lambda: reasons()["c"] == "1 in the queue · paused")
        app.screen.action_to_end()
        await until(pilot, lambda: order()[2] == "c")
        assert is_paused()
        for entry in entries():
            entry.path.unlink()
        for paused in (False, True, False):
            await pilot.press("p")
            await until(pilot, lambda paused=paused: is_paused() is paused)
