"""Pictures of the tab "Alarms". `pytest --snapshot-update` accepts a change; look at the new pictures first."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.containers import Container
from textual.screen import Screen

from rbp_engine.run.files.events import from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.history import HistoryBuilder
from rbp_engine.run.status.rules import alarms
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard import app as dashboard
from rbp_tui.dashboard.network.alarms import AlarmsTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import DARK, LIGHT

RECORDINGS = Path(__file__).parents[2] / "alarms" / "recordings"
SIZES = pytest.mark.parametrize("size", [(80, 20), (160, 41)], ids=lambda size: f"{size[0]}x{size[1]}")
Comparison = Callable[..., bool]


class NetworkScreen(Screen[None]):
    """The tab alone; the screen has the name that the style sheet knows."""

    def compose(self) -> ComposeResult:
        with Container(id="pages"):
            yield AlarmsTab()


class Picture(App[None]):
    CSS_PATH = Path(dashboard.__file__).parent / "dashboard.tcss"

    def __init__(self, sight: Sight, *, theme: str = DARK.name) -> None:
        super().__init__()
        for known in (DARK, LIGHT):
            self.register_theme(known)
        self.theme = theme
        self.sight = sight

    async def on_mount(self) -> None:
        await self.push_screen(NetworkScreen())
        self.screen.query_one(AlarmsTab).show(self.sight, None)


def sight(*recordings: str, status: str = "completed") -> Sight:
    """A run with the events of recorded runs of different kinds, one after the other; their alarms all stand."""
    history, found = HistoryBuilder().history(), []
    for name in recordings:
        builder = HistoryBuilder()
        builder.add(
            filter(None, map(from_json, gzip.decompress((RECORDINGS / f"{name}.jsonl.gz").read_bytes()).splitlines()))
        )
        history = builder.history()
        found += alarms(history)
    summary = Summary("run", "digits", "e", "rate_m", 4, 1)
    return Sight(RunDirectory(Path("run")), summary, Verdict(status, ""), history, alarms=tuple(found))


@SIZES
def test_a_live_run_without_samples(snap_compare: Comparison, size: tuple[int, int]) -> None:
    assert snap_compare(Picture(sight(status="running")), terminal_size=size)


@SIZES
def test_a_run_that_is_well(snap_compare: Comparison, size: tuple[int, int]) -> None:
    assert snap_compare(Picture(sight("digits-1")), terminal_size=size)


@SIZES
def test_several_alarms(snap_compare: Comparison, size: tuple[int, int]) -> None:
    assert snap_compare(Picture(sight("lr-too-high", "silenced"), theme=LIGHT.name), terminal_size=size)
