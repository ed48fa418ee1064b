"""A tab of Network alone, for pictures: as many rows as it has on screens of 80×24 and 160×45."""

from pathlib import Path

from textual.app import App
from textual.containers import Container
from textual.screen import Screen

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard import app as dashboard
from rbp_tui.dashboard.network import network_screen
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import DARK, LIGHT


def sight(builder, status="completed", **known):
    """A run of the digits with what a builder of histories has of it."""
    return Sight(
        RunDirectory(Path("run")), Summary("run", "digits", "e", "rate_m", 4, 1), Verdict(status, ""),
        builder.history(), **known,
    )  # fmt: skip


class NetworkScreen(Screen[None]):
    """The tab alone; the screen has the name and the widths that the style sheet knows."""

    HORIZONTAL_BREAKPOINTS = network_screen.NetworkScreen.HORIZONTAL_BREAKPOINTS

    def __init__(self, tab):
        super().__init__()
        self.tab = tab

    def compose(self):
        with Container(id="pages"):
            yield self.tab


class Picture(App[None]):
    """The tab with a run as it was at a step, or is now."""

    CSS_PATH = Path(dashboard.__file__).parent / "dashboard.tcss"

    def __init__(self, tab, sight, *, step=None, theme=DARK.name):
        super().__init__()
        for known in (DARK, LIGHT):
            self.register_theme(known)
        self.theme = theme
        self.tab = tab
        self.sight, self.step = sight, step

    async def on_mount(self):
        await self.push_screen(NetworkScreen(self.tab))
        self.tab.show(self.sight, self.step)
