"""The Compare screen over files written by the real writers, without workers."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from rbp_engine.run import track
from rbp_engine.run.files.events import Validation
from rbp_tui.cli import app as rbp
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.compare.compare_screen import TABLE_EDGE
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.text_line import Line
from rbp_tui.dashboard.view_state import load_state
from tests.dashboard.screen_pictures import at
from tests.run_files import change_summary, tell

GIB = 2**30
RATE = {1: (0.80, 0.91), 2: (0.82, 0.93), 3: (0.84, 0.95)}
BPTT = {1: (0.85, 0.93), 2: (0.86, 0.94)}


@pytest.fixture(scope="module")
def made(tmp_path_factory, end_run):
    """Two experiments: rate_M with three seeds, one with another log_every, and the slower BPTT with two seeds."""
    runs = tmp_path_factory.mktemp("compare") / "runs"
    for seed, curve in RATE.items():
        end_run(runs, f"rate-{seed}", f"seed={seed}", f"train.log_every={10 if seed < 3 else 5}", curve=curve)
    for seed, curve in BPTT.items():
        end_run(runs, f"bptt-{seed}", f"seed={seed}", "method=bptt", curve=curve, step_s=0.2, peak=5 * GIB)
    return runs


@pytest.fixture
def app(home, made):
    return Dashboard(made)


@pytest.fixture
def compare(until):
    """Compare runs, and wait for the table and the curves."""

    async def show(app, pilot, *run_ids):
        await until(pilot, lambda: app.session.listed)
        app.compare(list(run_ids))
        await until(pilot, lambda: getattr(app.screen, "groups", ()) and len(drawn(app)) >= len(app.screen.groups))
        return app.screen

    return show


def drawn(app):
    """The series of the first chart by label."""
    chart = app.screen.query_one("#first", CurveChart)
    return {curve.series.label: curve.series for curve in chart._model.curves}


def has_all_seeds(app):
    """Whether all three seeds of rate have been read: no two of them have the deviation of all."""
    band, deviation = drawn(app)["1◆"].band, 100 * np.std(list(RATE.values()), axis=0, ddof=1)
    return band is not None and np.allclose(np.subtract(band[1], band[0]), 2 * deviation)


def shown(screen):
    """The table without the marks in the colours of the curves."""
    text = f"{screen.query_one('#headings', Line).shown.plain}\n{screen.query_one('#table', Line).shown.plain}"
    return "\n".join(line[2:] if line.startswith(("● ", "╍ ", "┉ ", "○ ", "  ")) else line for line in text.split("\n"))


async def test_the_table_equals_that_of_rbp_compare(app, made, until, compare):
    async with app.run_test(size=(80, 40)) as pilot:
        screen = await compare(app, pilot, "bptt-1", "bptt-2", "rate-1", "rate-2", "rate-3")
        words = ["compare", "rate-1", "rate-2", "rate-3", "method:bptt", "--runs-dir", str(made)]
        pinned = ["--baseline", "bptt-1"]
        for press, more in (([], []), (["down", "b"], pinned), (["g"], [*pinned, "--each-run"])):
            await pilot.press(*press)
            printed = CliRunner().invoke(rbp, words + more, env={"COLUMNS": str(80 - TABLE_EDGE)}).stdout
            whole, _, at_equal_cost = printed.rstrip("\n").partition("\n\nat equal cost\n")
            await until(pilot, lambda whole=whole: shown(screen) == whole)
            await pilot.press("dollar_sign")
            await until(pilot, lambda table=at_equal_cost: shown(screen) == table)
            assert "at equal cost" in screen.query_one("#about", Line).shown.plain
            await pilot.press("dollar_sign")


async def test_the_x_axis_switches_between_epochs_steps_seconds_and_memory(app, until, compare):
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await compare(app, pilot, "rate-1", "bptt-1")
        chart = screen.query_one("#first", CurveChart)
        for unit, rate, bptt in (
            ("epoch", [1.0, 2.0], [1.0, 2.0]),
            ("step", [10.0, 20.0], [10.0, 20.0]),
            ("time", [1.0, 2.0], [2.0, 4.0]),
            ("GiB", [1.0], [5.0]),
        ):
            await until(pilot, lambda unit=unit: chart.x_axis == unit)
            places = [drawn(app)[label].x.tolist() for label in ("1◆", "2")]
            assert places == [pytest.approx(rate), pytest.approx(bptt)]
            await pilot.press("h")
        assert drawn(app)["2"].points is False


async def test_a_key_pins_and_unpins_the_baseline_which_is_kept_between_visits(app, made, until, compare):
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await compare(app, pilot, "rate-1", "bptt-1")
        assert screen.groups[0].title.startswith("digits · rate_M")
        await pilot.press("down", "b")
        await until(pilot, lambda: screen.groups[0].title.startswith("digits · BPTT"))
        assert "◆ digits · BPTT · T=4 pinned" in screen.query_one("#about", Line).shown.plain
    assert load_state().baseline == "bptt-1" and load_state().compared == ["rate-1", "bptt-1"]
    again = Dashboard(made)
    async with again.run_test(size=(120, 30)) as pilot:
        # Comparing rate_M alone still shows the pinned run's experiment.
        screen = await compare(again, pilot, "rate-1", "rate-2")
        assert [len(group.runs) for group in screen.groups] == [2, 2] and screen.groups[0].is_baseline
        await pilot.press("up", "b")
        await until(pilot, lambda: len(screen.groups) == 1 and not again.session.state.baseline)


async def test_single_runs_can_replace_experiments_and_curves_can_be_hidden(app, until, compare):
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await compare(app, pilot, "rate-1", "rate-2", "bptt-1")
        await until(pilot, lambda: {drawn(app)[label].band is None for label in drawn(app)} == {True, False})
        # The best of a mean would be another number than the mean of the bests, which the table calls best.
        assert [drawn(app)[label].marker for label in ("1◆", "2")] == [None, "highest"]
        await pilot.press("g")
        await until(pilot, lambda: sorted(drawn(app)) == ["1◆", "2◆", "3"])
        assert {curve.marker for curve in drawn(app).values()} == {"highest"}
        assert screen.group.title.endswith("seed 1")
        await pilot.press("down", "space")
        assert sorted(drawn(app)) == ["1◆", "3"]
        await pilot.press("space", "g")
        await until(pilot, lambda: sorted(drawn(app)) == ["1◆", "2"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert app.session.opened == "rate-1"


async def test_what_is_said_of_the_choice_of_runs_is_not_cut(app, until):
    async with app.run_test(size=(60, 24)) as pilot:
        app.compare([])
        await until(pilot, lambda: app.session.listed and app.screen.groups)
        notes = app.screen.query_one("#notes", Line)
        assert notes.shown.plain == "the newest experiments on digits. 2: Space marks others, c compares them"
        await until(pilot, lambda: notes.size.height == 2)


async def test_keys_choose_the_curve_and_a_wide_screen_shows_the_next_beside_it(app, until, compare):
    async with app.run_test(size=(160, 40)) as pilot:
        screen = await compare(app, pilot, "rate-1", "bptt-1")
        first, second = screen.query(CurveChart)
        assert (first.title, second.title) == ("top-1 %", "train loss")
        await pilot.press("v")
        await pilot.pause()
        assert (first.title, second.title) == ("train loss", "loss")
        assert np.allclose(drawn(app)["1◆"].y, 1 - np.array(RATE[1]))
        await pilot.press("left")
        await until(pilot, lambda: second.cursor == first.cursor is not None)
        await pilot.press("z")
        assert screen.maximized is first
        await pilot.press("z")
        assert screen.maximized is None


async def test_runs_of_other_programs_are_compared_by_any_of_their_metrics_over_the_axis_they_have(home, until):
    runs = home / "runs"
    for number in (1, 2):
        with track({"lr": 0.1 * number}, run_id=f"theirs-{number}", runs_dir=runs) as run:
            for step in range(4):
                run.log(loss=1 / (step + 1), spikes=step * number)
    app = Dashboard(runs)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.listed)
        app.compare(["theirs-1", "theirs-2"])
        await until(pilot, lambda: "own/spikes" in getattr(app.screen, "curve_names", ()))
        chart = app.screen.query_one("#first", CurveChart)
        for title in ("train loss", "loss", "train top-1 %", "spikes", "top-1 %", "train loss"):
            await pilot.press("v")
            await until(pilot, lambda title=title: chart.title == title)
            if title == "spikes":
                await until(pilot, lambda: len(drawn(app)) == 2)
                assert (drawn(app)["1◆"].y.tolist(), drawn(app)["2"].y.tolist()) == ([0, 1, 2, 3], [0, 2, 4, 6])
        assert chart.x_axis == "step" and drawn(app)["1◆"].x.tolist() == [1, 2, 3, 4]
        await pilot.press("h")
        assert chart.x_axis == "time"


async def test_runs_of_other_programs_that_differ_in_their_epochs_alone_have_rows_and_curves_of_their_own(home, until):
    runs = home / "runs"
    for epochs in (2, 3):
        with track({"lr": 0.1, "seed": 1}, run_id=f"theirs-{epochs}", runs_dir=runs, epochs=epochs) as run:
            run.log(loss=0.1 * epochs)
    app = Dashboard(runs)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.listed)
        app.compare(["theirs-2", "theirs-3"])
        await until(pilot, lambda: len(getattr(app.screen, "groups", ())) == 2)
        await pilot.press("v")
        await until(pilot, lambda: len(drawn(app)) == 2)
        await pilot.press("down", "space")
        await until(pilot, lambda: list(drawn(app)) == ["1◆"])


async def test_it_follows_live_runs_and_survives_removed_ones(home, until, compare, end_run):
    runs = home / "runs"
    going, leaving = (
        end_run(runs, name, *words, curve=[0.5]) for name, words in (("on", ["seed=1"]), ("off", ["T=6"]))
    )
    damaged = end_run(runs, "damaged", "seed=2", curve=[0.5])
    damaged.preset_toml.write_text("x")
    app = Dashboard(runs)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await compare(app, pilot, "on", "off", "damaged")
        assert "left out damaged: preset.toml cannot be read" in shown(screen)
        assert screen.compared.notes == ()
        tell(going, Validation(2, 0.1, 0.75, 1.0, 360), step=20)
        change_summary(going, last={"top1": 0.75}, best={"top1": 0.75})
        await until(pilot, lambda: "75.00" in shown(screen) and drawn(app)["1◆"].y.tolist() == [50.0, 75.0])
        await pilot.press("dollar_sign")
        await until(pilot, lambda: "at equal cost" in screen.query_one("#about", Line).shown.plain)
        shutil.rmtree(leaving.path)
        await until(pilot, lambda: len(screen.groups) == 1)
        assert "at equal cost" not in screen.query_one("#about", Line).shown.plain  # there is nothing to hold equal
        assert "1 of the chosen runs is not there any more" in screen.query_one("#notes", Line).shown.plain


@at("80x24", "160x45")
def test_how_it_looks(app, until, compare, monkeypatch, same_picture, size):
    monkeypatch.setenv("TERM", "xterm-256color")

    async def settle(pilot):
        await compare(pilot.app, pilot, "rate-1", "rate-2", "rate-3", "bptt-1", "bptt-2")
        await until(pilot, lambda: len(drawn(pilot.app)["1◆"].y) == len(drawn(pilot.app)["2"].y) == 2)
        await until(pilot, lambda: drawn(pilot.app)["2"].band is not None and has_all_seeds(pilot.app))
        await pilot.press("down")
        await until(pilot, lambda: drawn(pilot.app)["2"].emphasis)  # with the next tick

    same_picture(app, size, settle)
