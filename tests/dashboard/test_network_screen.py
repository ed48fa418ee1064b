"""Network: the layers of a run at any moment of its training."""

import time
from pathlib import Path

import pytest

from rbp_engine.run.files.annotations import read_annotations
from rbp_engine.run.files.events import FiringRates, Validation
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.status import status
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.dialogs import Ask
from rbp_tui.dashboard.network.network_screen import TABS, NetworkScreen
from rbp_tui.dashboard.opened import state_text
from rbp_tui.dashboard.text_line import Line
from tests.dashboard.screen_pictures import at
from tests.run_files import change_identity, change_summary, tell, write_attempt

NOW = 1010.0  # soon after the events of `end_run`
CURVE = [0.5, 0.7, 0.8, 0.85, 0.9, 0.95]


@pytest.fixture
def live_run(home, end_run):
    """A run of which this process is the worker, halfway through its epochs."""
    run = end_run(home / "runs", "live", curve=CURVE, layers=18)
    write_attempt(run)
    change_identity(run, epochs=12)
    now = time.time()
    paced = {"paced_from": now - 5.0, "paced_step": 10}
    change_summary(run, status="running", steps=120, updated=now, progressed=now, **paced)
    return run


@pytest.fixture
def pictures(home, monkeypatch):
    """The dashboard with the clock stopped."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    # The live run writes nothing more, however long the picture takes on a busy machine.
    for place, name in ((status, "LOST_AFTER_S"), (status, "STALLED_AFTER_S"), (state_text, "STALE_AFTER_S")):
        monkeypatch.setattr(place, name, 1e9)
    monkeypatch.chdir(home)
    yield Dashboard(Path("runs"))
    time.tzset()


@pytest.fixture
def settled(until):
    """A function for a picture: open the run's network, press keys, and wait until all is drawn."""

    def on(*keys):
        async def settle(pilot):
            await until(pilot, lambda: pilot.app.session.records)
            await pilot.press("6")
            await until(pilot, lambda: getattr(pilot.app.screen, "seen", None) is not None)
            await pilot.press(*keys)

        return settle

    return on


@at("80x24")
def test_a_run_without_samples(home, pictures, end_run, settled, same_picture, size):
    run = end_run(home / "runs", "none", curve=CURVE)
    change_identity(run, created=NOW - 60)
    same_picture(pictures, size, settled())


@at("80x24", "160x45")
def test_a_live_run_of_18_layers(pictures, live_run, settled, same_picture, size):
    same_picture(pictures, size, settled("down"))


@at("80x24", "160x45")
def test_a_finished_run_of_60_layers_looked_at_in_the_past(home, pictures, end_run, settled, same_picture, size):
    end_run(home / "runs", "deep", curve=CURVE, layers=60)
    same_picture(pictures, size, settled("pagedown", "left", "left"))


async def open_network(app, pilot, until):
    await until(pilot, lambda: app.session.records)
    await pilot.press("6")
    await until(pilot, lambda: isinstance(app.screen, NetworkScreen) and app.screen.seen is not None)
    await pilot.pause()


def first_mean(app):
    """The mean rate of the first layer in the table, in per cent."""
    return float(app.screen.tab.query_one(LayerTable).get_row_at(0)[2].plain)


def head(app):
    return app.screen.query_one("#progress", Line).shown.plain


#: Of the first of 4 layers: (1 + 2 + 3 + 4 + 5) / 5 / 4 / (10 + 5 epochs) in per cent.
MEANS = [round(100 * 0.75 / (10 + 5 * epoch), 1) for epoch in range(len(CURVE))]


async def test_keys_and_the_cursor_of_a_chart_move_the_table_and_escape_goes_back(dashboard, home, end_run, until):
    end_run(home / "runs", "one", curve=CURVE, layers=4)
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await open_network(dashboard, pilot, until)
        assert first_mean(dashboard) == MEANS[-1] and "100 %" in head(dashboard)
        await pilot.press("left", "left")
        assert first_mean(dashboard) == MEANS[-3] and "sample 4 of 6" in head(dashboard)
        assert dashboard.screen.tab.query_one(CurveChart).cursor == 4.0
        await pilot.press("right")
        assert first_mean(dashboard) == MEANS[-2]
        dashboard.screen.tab.query_one(CurveChart).focus()
        await pilot.press("left", "left")
        await until(pilot, lambda: first_mean(dashboard) == MEANS[-4])
        assert "epoch 3.00 of 6" in head(dashboard) and "step 30" in head(dashboard)
        await pilot.press("escape")
        assert first_mean(dashboard) == MEANS[-1] and dashboard.screen.tab.query_one(CurveChart).cursor is None
        assert "100 %" in head(dashboard)


async def test_a_run_that_the_monitor_has_read_is_seen_at_its_cursor(dashboard, home, end_run, until):
    end_run(home / "runs", "one", curve=CURVE, layers=4)
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: dashboard.session.records)
        await pilot.press("3")
        await until(pilot, lambda: getattr(dashboard.screen, "seen", None) is not None)
        dashboard.screen.query_one("#loss").focus()
        await pilot.press("left", "left")
        await until(pilot, lambda: dashboard.session.step == 50.0)
        await open_network(dashboard, pilot, until)
        table = dashboard.screen.tab.query_one(LayerTable)
        await until(pilot, lambda: table.size.height == 1 + 4)
        assert first_mean(dashboard) == MEANS[-2]
        await pilot.press("left", "3")
        await until(pilot, lambda: dashboard.screen.query_one("#loss", CurveChart).cursor == 4.0)


async def test_a_new_sample_is_shown_unless_the_past_is_looked_at(dashboard, live_run, until):
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await open_network(dashboard, pilot, until)
        tell(live_run, FiringRates([[0.5] * 5] * 18, [0.0] * 18, [0.0] * 18), step=70, now=1007.0)
        await until(pilot, lambda: first_mean(dashboard) == 50.0)
        await pilot.press("left")
        before = first_mean(dashboard)
        tell(live_run, FiringRates([[0.9] * 5] * 18, [0.0] * 18, [0.0] * 18), step=80, now=1008.0)
        await until(pilot, lambda: "of 8" in head(dashboard))
        assert first_mean(dashboard) == before < 50.0
        await pilot.press("escape")
        await until(pilot, lambda: first_mean(dashboard) == 90.0)


async def test_a_run_without_rates_has_none_of_the_accuracies_of_the_run_before_it(dashboard, home, end_run, until):
    change_identity(end_run(home / "runs", "none", curve=CURVE), created=NOW - 60)
    tell(end_run(home / "runs", "one", curve=CURVE, layers=4), Validation(7, 0.1, 0.9, None, 9, top1_by_step=[0.5]))
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await open_network(dashboard, pilot, until)
        accuracy = dashboard.screen.query_one("#accuracy", Line)
        await until(pilot, lambda: accuracy.size.height == 1)
        await pilot.press("less_than_sign")
        await until(pilot, lambda: dashboard.screen.seen is not None and dashboard.screen.seen.run.id == "none")
        await until(pilot, lambda: dashboard.screen.tab.has_class("-nothing"))
        assert accuracy.size.height == 0


async def test_another_layer_is_chosen_by_key_and_click_and_its_curve_is_drawn(dashboard, home, end_run, until):
    end_run(home / "runs", "deep", curve=CURVE, layers=60)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await open_network(dashboard, pilot, until)
        table, chart = dashboard.screen.tab.query_one(LayerTable), dashboard.screen.tab.query_one(CurveChart)
        await pilot.press("end")
        assert table.selected == 59 and table.scroll_offset.y + table.size.height - 1 == 60
        assert [one.label for one in chart.series] == ["all", "layer15.1.neuron2", "t = 1", "t = 5"]
        await pilot.press("home")
        assert table.selected == 0 and table.scroll_offset.y == 0
        await pilot.click(table, offset=(5, 3))
        await pilot.pause()
        assert table.selected == 2 and chart.series[1].label == "layer1.1.neuron1"


async def test_every_tab_opens_by_key_and_click_and_is_remembered(dashboard, home, end_run, until):
    end_run(home / "runs", "one", curve=CURVE, layers=4)
    async with dashboard.run_test(size=(120, 40)) as pilot:
        await open_network(dashboard, pilot, until)
        for tab in (*TABS[1:], TABS[0])[: len(TABS) if len(TABS) > 1 else 0]:
            await pilot.press("v")
            assert isinstance(dashboard.screen.tab, tab) and dashboard.session.state.network_tab == tab.TITLE
        for tab in TABS:
            bar = dashboard.screen.query_one("#tabs", Line)
            await pilot.click(bar, offset=(bar.shown.plain.index(tab.TITLE), 0))
            await pilot.pause()
            assert isinstance(dashboard.screen.tab, tab)
            assert dashboard.screen.focused is None or tab in map(type, dashboard.screen.focused.ancestors)


async def test_the_keys_of_runs_act_on_the_run_that_is_shown(dashboard, home, end_run, until):
    run = end_run(home / "runs", "deep", curve=CURVE, layers=3)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await open_network(dashboard, pilot, until)
        await pilot.press("b", "t")
        await until(pilot, lambda: isinstance(dashboard.screen, Ask))
        await pilot.press(*"wide", "enter")
        await until(pilot, lambda: "wide" in read_annotations(run).tags(read_summary(run)))
        await pilot.press("2")
        await until(pilot, lambda: [cells[0].text for cells in dashboard.screen.rows.cells.values()] == ["◆"])
