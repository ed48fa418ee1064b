"""Pictures of the tab "Alarms". `pytest --snapshot-update` accepts a change; look at the new pictures first."""

import gzip
from pathlib import Path

from rbp_engine.run.files.events import from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.history import HistoryBuilder
from rbp_engine.run.status.rules.table import alarms
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard.network.alarms import AlarmsTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import LIGHT
from tests.dashboard.widgets.tab_picture import SIZES, Comparison, Picture

RECORDINGS = Path(__file__).parents[2] / "alarms" / "recordings"


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
    assert snap_compare(Picture(AlarmsTab(), sight(status="running")), terminal_size=size)


@SIZES
def test_a_run_that_is_well(snap_compare: Comparison, size: tuple[int, int]) -> None:
    assert snap_compare(Picture(AlarmsTab(), sight("digits-1")), terminal_size=size)


@SIZES
def test_several_alarms(snap_compare: Comparison, size: tuple[int, int]) -> None:
    assert snap_compare(Picture(AlarmsTab(), sight("lr-too-high", "silenced"), theme=LIGHT.name), terminal_size=size)
