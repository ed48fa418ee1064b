"""The tab "Alarms" of Network, over recorded runs."""

import gzip
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.dashboard.network.alarms import AlarmsTab
from rbp_tui.dashboard.network.screen import TABS
from rbp_tui.dashboard.text_line import Line
from tests.dashboard.idle_loop import stand_still

RECORDINGS = Path(__file__).parents[1] / "alarms" / "recordings"
TAB = ("6", *["v"] * TABS.index(AlarmsTab))


@pytest.fixture
def recorded(home, write_run):
    """Make a run of a recording, or of no events."""

    def make(name: str = "", **changes) -> RunDirectory:
        run = write_run(home / "runs", "one", trained_s=61.0, **changes)
        if name:
            run.events().write_bytes(gzip.decompress((RECORDINGS / f"{name}.jsonl.gz").read_bytes()))
        return run

    return make


@pytest.fixture
def opened(until):
    """Open the tab, and wait until it shows the run."""

    async def open_it(pilot) -> None:
        await until(pilot, lambda: pilot.app.session.records)
        await pilot.press(*TAB)
        await until(pilot, lambda: getattr(pilot.app.screen, "seen", None) is not None)
        pilot.app.clear_notifications()
        await stand_still(pilot)

    return open_it


def shown(app) -> str:
    return app.screen.query_one("#alarms Line", Line).shown.plain


@pytest.mark.asyncio
async def test_the_cursor_goes_back_to_when_there_was_no_alarm_yet(dashboard, recorded, opened):
    recorded("silenced")
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        assert shown(dashboard).startswith("! neuron3   since epoch 2.2")
        await pilot.press(*["left"] * 12)
        await stand_still(pilot)
        assert shown(dashboard).startswith("Nothing to report.")
        await pilot.press("escape")
        await stand_still(pilot)
        assert shown(dashboard).startswith("! neuron3")


@pytest.mark.asyncio
async def test_an_alarm_of_a_live_run_appears_on_the_tab_and_on_monitor(dashboard, recorded, opened, until):
    run = recorded(status="running")
    lines = gzip.decompress((RECORDINGS / "silenced.jsonl.gz").read_bytes()).splitlines(keepends=True)
    run.events().write_bytes(b"".join(lines[:12]))
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert shown(dashboard).startswith("Nothing to report.")
        with run.events().open("ab") as events:
            events.writelines(lines[12:])
        await until(pilot, lambda: shown(dashboard).startswith("! neuron3"))
        await pilot.press("3")
        await until(pilot, lambda: "! neuron3" in dashboard.screen.query_one("#alert", Line).shown.plain)
