"""The tabs of the Network screen about health and about the user's own metrics, in a dashboard and in pictures."""

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.events import Event, Health, Probe, RunStart
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.history.history import History, HistoryBuilder
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.writer import EventWriter
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.network.gradients import GradientsTab
from rbp_tui.dashboard.network.health import HealthTab
from rbp_tui.dashboard.network.network_screen import NetworkScreen
from rbp_tui.dashboard.network.own import OwnTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import DARK, LIGHT
from tests.dashboard.screen_pictures import at
from tests.dashboard.widgets.tab_picture import Picture, sight

SAMPLES = 12


def samples(layers):
    """Events of a run with samples every 10 steps, five an epoch; without layers it has none."""
    names = [f"layer{n // 6 + 1}.{n // 2 % 3}.neuron{n % 2 + 1}" for n in range(layers)]
    weights = [name.replace("neuron", "conv") for name in names] + ["head"]
    yield Event(0, 0.0, 1, 0, 0, RunStart(steps_per_epoch=50, neuron_layers=names, weight_layers=weights))
    for sample in range(1, SAMPLES + 1) if layers else ():
        shares = [0.42 * 0.9**n / sample**0.5 for n in range(layers)]
        health = Health(
            shares,
            [[share * factor for factor in (0.01, 0.1, 0.5, 1.0, 2.5)] for share in shares],
            [0.5 * 0.8**n for n in range(layers)] + [None],
            [0.01 * 0.8**n / sample for n in range(layers + 1)],
        )
        rank = 9.0 - sample % 3 if sample != 5 else None
        for body in (health, Probe("spread of weights", 1e-4 * sample), Probe("rank", rank)):
            yield Event(sample, float(sample), 1, 0, 10 * sample, body)


def sampled(layers):
    builder = HistoryBuilder()
    builder.add(samples(layers))
    return sight(builder)


@at("80x20", "160x41")
@pytest.mark.parametrize(
    ("tab", "layers", "theme"), [(HealthTab, 18, DARK), (OwnTab, 18, LIGHT), (OwnTab, 0, DARK)],
    ids=["health", "own", "none"],
)  # fmt: skip
def test_a_run(same_picture, size, tab, layers, theme):
    same_picture(Picture(tab(), sampled(layers), theme=theme.name), size)


@pytest.fixture
def sampled_run(home, write_run):
    """Write a run with those samples of so many layers."""

    def write(layers):
        writer = EventWriter(write_run(home / "runs", "sampled").events(), attempt=1)
        for event in samples(layers):
            writer.write(event.body, event.step, event.t)
        writer.close()

    return write


async def open_tab(app, pilot, until, title):
    await until(pilot, lambda: app.session.records)
    await pilot.press("6")
    await until(pilot, lambda: isinstance(app.screen, NetworkScreen) and app.screen.seen is not None)
    app.screen.action_open(title)
    await pilot.pause()


def shown(app, number=0):
    """The table of that number in the open tab, by its headings."""
    table = list(app.screen.tab.query(LayerTable))[number]
    headings = [column.label.plain for column in table.ordered_columns]
    rows = map(table.get_row_at, range(table.row_count))
    return [dict(zip(headings, (cell.plain for cell in row), strict=True)) for row in rows]


def chart(app, title):
    [found] = [one for one in app.screen.tab.query(CurveChart) if one.title == title]
    return found


async def test_health_is_that_of_the_cursor_and_of_the_selected_layers(dashboard, sampled_run, until):
    sampled_run(60)
    async with dashboard.run_test(size=(100, 30)) as pilot:
        await open_tab(dashboard, pilot, until, "Health")
        assert len(shown(dashboard)) == 60 and len(shown(dashboard, 1)) == 61
        assert shown(dashboard)[0]["in window %"] == "12.1" and shown(dashboard)[0]["g median"] == "0.061"
        assert shown(dashboard, 1)[60]["gradient"] == "–" and shown(dashboard, 1)[0]["update/weight"] == "8.33e-04"
        for _ in range(3):
            dashboard.screen.action_sample(-1)
        await until(pilot, lambda: shown(dashboard)[0]["in window %"] == "14.0")
        neurons, weights = dashboard.screen.tab.query(LayerTable)
        assert neurons.has_focus
        weights.focus()
        await pilot.press("down")
        assert weights.selected == 1
        await until(pilot, lambda: chart(dashboard, "update / weight").series[0].y[0] == 0.01 * 0.8)
        [band] = [chart(dashboard, "eligibility g").series[0].band]
        assert (band[0][0], band[1][0]) == pytest.approx((0.0042, 1.05))
        await pilot.resize_terminal(160, 45)
        await until(pilot, lambda: neurons.region.y == weights.region.y)


async def test_own_metrics_are_rows_and_the_selected_one_is_drawn(dashboard, sampled_run, until):
    sampled_run(2)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await open_tab(dashboard, pilot, until, "Own")
        assert [row["metric"] for row in shown(dashboard)] == ["spread of weights", "rank"]
        assert [row["value"] for row in shown(dashboard)] == ["0.0012", "9"]
        assert (shown(dashboard)[1]["lowest"], shown(dashboard)[1]["highest"]) == ("7", "9")
        await pilot.press("down")
        await until(pilot, lambda: dashboard.screen.tab.query_one(CurveChart).title == "rank")
        assert len(chart(dashboard, "rank").series[0].y) == SAMPLES - 1
        for _ in range(SAMPLES - 5):
            dashboard.screen.action_sample(-1)
        await until(pilot, lambda: shown(dashboard)[1]["value"] == "8")  # that of the sample before


def test_a_run_says_when_its_first_sample_comes_or_how_to_start_one_that_has_them(home):
    preset = load_preset("digits", ["probes.health=true", "train.log_every=5"])
    run = launch.create(preset, home / "runs", run_id="live", command=["rbp", "train", "digits"])
    live = Sight(run, load_summary(run), Verdict("running", ""), History())
    assert HealthTab().why_nothing(live) == "No sample of its health yet: the first is after 5 steps."
    assert "\nrbp train --like run probes.health=true" in HealthTab().why_nothing(sampled(0))
    said = GradientsTab().why_nothing(live)
    assert "does not compare its gradients" in said and "\nrbp train --like live probes.gradients=100\n" in said
