from contextlib import asynccontextmanager

import numpy as np
import pytest
from textual.app import App

from rbp_tui.charts.palette import SeriesColours
from rbp_tui.charts.series import Series, XMark
from rbp_tui.dashboard.charts import curve_chart
from rbp_tui.dashboard.charts.curve_chart import CurveChart

X = np.arange(101.0)
RISING = Series("a", "train", X, X)
FALLING = Series("b", "val", X, 100 - X, marker="lowest")


class Charts(App[None]):
    """One chart, or several of equal height, and the messages that they sent."""

    def __init__(self, *series, count=1):
        super().__init__()
        colours = SeriesColours()
        self.charts = [CurveChart("loss", id=f"chart{number}", colours=colours) for number in range(count)]
        self.series = series
        self.cursors = []
        self.views = []

    def compose(self):
        for chart in self.charts:
            chart.set_series(self.series)
            yield chart

    def on_curve_chart_cursor_moved(self, event):
        self.cursors.append(event.x)

    def on_curve_chart_view_changed(self, event):
        self.views.append(event.x_range)

    @property
    def chart(self):
        return self.charts[0]

    @property
    def rows(self):
        return [self.chart.render_line(row).text for row in range(self.chart.size.height)]


@asynccontextmanager
async def drawn(*series, size=(80, 12), count=1):
    """The app and its pilot."""
    app = Charts(*series, count=count)
    async with app.run_test(size=size) as pilot:
        yield app, pilot


async def press(pilot, *keys):
    await pilot.press(*keys)
    await pilot.pause()


async def test_points_are_drawn_one_by_one_without_line_or_smoothing():
    runs = Series("a", "runs", np.array([1.0, 2.0, 5.0]), np.array([0.0, 9.0, 5.0]), points=True)
    async with drawn(runs) as (app, _):
        app.chart.smoothing = 0.9
        plot = "".join(row[6:] for row in app.rows[1:-1])
        assert plot.replace(" ", "").replace("┈", "") == 3 * "●"
        assert "5.00" not in app.rows[0]  # none of the points is the newest


async def test_without_data_it_says_so():
    for series in ((), (Series("a", "train", X[:0], X[:0]),), (Series("a", "train", X, np.full(101, np.nan)),)):
        app = Charts(*series)
        async with app.run_test(size=(40, 10)):
            assert any("no data" in row for row in app.rows)
            assert app.rows[0].startswith("loss")


async def test_a_log_axis_without_positive_values_says_so():
    async with drawn(Series("a", "train", X, -X), size=(60, 10)) as (app, _):
        app.chart.y_log = True
        assert any("nothing above 0" in row for row in app.rows)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 3), (14, 2), (15, 6), (20, 4), (36, 3), (80, 24), (200, 60)])
async def test_every_row_fills_the_width_at_every_size(size):
    many = [Series(str(n), f"a rather long label {n}", X, X * n + 1, band=(X * n, X * n + 2)) for n in range(10)]
    async with drawn(*many, FALLING, size=size) as (app, _):
        for cursor in (None, 50.0):
            app.chart.set_cursor(cursor)
            for y in range(size[1]):
                strip = app.chart.render_line(y)
                assert sum(len(segment.text) for segment in strip) == size[0]


@pytest.mark.parametrize("log", [False, True])
async def test_extreme_values_are_survived(log):
    strange = np.array([1.7e308, -1.7e308, 5e-324, np.inf, np.nan, 0.0, -0.0, 3.4e38])
    flat = np.full(8, 5e-324)
    for x, y in ((np.arange(8.0), strange), (strange, np.arange(8.0)), (np.arange(8.0), flat), (flat, flat)):
        app = Charts(Series("a", "train", x, y, marker="lowest"))
        async with app.run_test(size=(60, 12)) as pilot:
            app.chart.x_log = app.chart.y_log = log
            app.chart.smoothing = 0.9
            app.chart.focus()
            await press(pilot, "left", "shift+left")
            for _ in range(200):
                app.chart.action_zoom(0.8)
            assert len(app.rows[5]) == 60
            for _ in range(300):
                app.chart.action_zoom(1.25)
            assert app.chart.view is None


async def test_keys_zoom_pan_and_show_all_again():
    async with drawn(RISING) as (app, pilot):
        app.chart.focus()
        await press(pilot, "+")
        assert app.chart.view == pytest.approx((10.0, 90.0))
        await press(pilot, "shift+right")
        assert app.chart.view == pytest.approx((20.0, 100.0))
        await press(pilot, "shift+left")
        assert app.chart.view == pytest.approx((4.0, 84.0))
        await press(pilot, "0")
        assert app.chart.view is None
        await press(pilot, "=", "-")
        assert app.chart.view is None
        assert app.views[0] == pytest.approx((10.0, 90.0))
        assert app.views[-1] is None


async def test_zero_shows_what_would_flatten_the_rest_and_again_leaves_it_out():
    slow = np.full(101, 20.0)
    slow[0] = 2000.0
    async with drawn(Series("a", "step", X, slow)) as (app, pilot):
        app.chart.focus()
        assert app.rows[0].endswith("clipped")
        assert app.rows[1][6] == "▲"
        assert "2k" not in "".join(app.rows)
        await press(pilot, "0")
        assert "clipped" not in app.rows[0]
        assert "2k" in "".join(app.rows)
        assert "▲" not in "".join(app.rows)
        await press(pilot, "+", "0")
        assert app.chart.view is None
        assert "2k" in "".join(app.rows)
        await press(pilot, "0")
        assert app.rows[0].endswith("clipped")


async def test_a_mark_has_its_word_on_the_x_axis_and_a_line_behind_the_curves():
    async with drawn(RISING, size=(107, 12)) as (app, pilot):
        app.chart.set_marks([XMark(0.0, "compile"), *(XMark(x, "resume") for x in (50.0, 51.0, 300.0))])
        await pilot.pause()
        assert app.rows[-1].split()[:3] == ["step", "compile", "10"]
        assert app.rows[-1].count("resume") == 1
        assert app.rows[2][56:58] == "┊┊"
        app.chart.set_view(60, 80)
        assert "resume" not in app.rows[-1]


async def test_more_than_eight_series_have_other_strokes_and_keys():
    many = [Series(str(number), str(number), X, X + number) for number in range(17)]
    async with drawn(*many, size=(170, 20)) as (app, _):
        row = app.rows[0]
        assert [row.count(key) for key in "●╍┉"] == [8, 8, 1]


async def test_keys_change_scales_and_smoothing():
    async with drawn(RISING) as (app, pilot):
        app.chart.focus()
        await press(pilot, "l", "L", "]", "]")
        assert (app.chart.y_log, app.chart.x_log) == (True, True)
        assert app.chart.smoothing == 0.6
        assert app.rows[0].endswith("log x y  ~0.6")
        await press(pilot, "[", "[", "[", "l", "L")
        assert app.chart.smoothing == 0.0
        assert not (app.chart.y_log or app.chart.x_log)


async def test_the_cursor_reads_the_nearest_point_of_every_curve():
    sparse = Series("c", "test", np.array([0.0, 40.0, 100.0]), np.array([7.0, 8.0, 9.0]))
    short = Series("d", "short", np.array([0.0, 10.0]), np.array([1.0, 1.0]))
    async with drawn(RISING, sparse, short, size=(100, 12)) as (app, _):
        app.chart.set_cursor(52.2)
        assert " ".join(app.rows[0].split()) == "loss @52.20 ● train 52.0 ● test 8.00 ● short –"
        app.chart.smoothing = 0.9
        assert "train ~" in app.rows[0]


async def test_keys_move_the_cursor_and_post_a_message():
    async with drawn(RISING, size=(26, 10)) as (app, pilot):
        app.chart.focus()
        await press(pilot, "left")
        assert app.chart.cursor == 100.0
        await press(pilot, "left")
        moved = app.chart.cursor
        assert moved < 96
        await press(pilot, "right")
        assert app.cursors[0] == 100.0
        assert app.cursors[-1] == app.chart.cursor
        await press(pilot, "0")
        assert app.cursors[-1] is None


async def test_a_click_sets_the_cursor_and_a_double_click_shows_everything():
    async with drawn(RISING, size=(107, 12)) as (app, pilot):
        await pilot.click(CurveChart, offset=(6 + 50, 5))
        await pilot.pause()
        assert app.chart.cursor == 50.0
        app.chart.set_view(20, 40)
        await pilot.double_click(CurveChart, offset=(6 + 70, 5))
        await pilot.pause()
        assert app.chart.view is None
        assert app.chart.cursor is None


async def test_the_wheel_zooms_around_the_pointer():
    async with drawn(RISING, size=(107, 12)) as (app, pilot):
        await pilot._post_mouse_events([curve_chart.events.MouseScrollUp], CurveChart, offset=(6 + 25, 5))
        await pilot.pause()
        view = app.chart.view
        assert view[1] - view[0] == pytest.approx(80)
        assert view[0] + 80 * 25.5 / 101 == pytest.approx(25.2, abs=0.3)
        await pilot._post_mouse_events([curve_chart.events.MouseScrollDown], CurveChart, offset=(6 + 25, 5))
        await pilot.pause()
        assert app.chart.view is None


async def test_changes_from_the_program_post_no_messages():
    async with drawn(RISING, count=2, size=(80, 24)) as (app, pilot):
        for chart in app.charts:
            chart.set_view(20, 40)
            chart.set_cursor(30)
        await pilot.pause()
        assert not app.views
        assert not app.cursors
        assert app.charts[1].view == (20, 40)
        assert "30.0" in app.charts[1].render_line(0).text
        app.charts[1].set_view(None)
        assert app.charts[1].view is None


async def test_new_data_keeps_the_view_and_unchanged_data_is_not_redrawn(monkeypatch):
    drawings, real = [], curve_chart.draw
    monkeypatch.setattr(curve_chart, "draw", lambda *given: drawings.append(1) or real(*given))
    async with drawn(RISING) as (app, pilot):
        app.chart.set_view(20, 40)
        await pilot.pause()
        drawings.clear()
        app.chart.set_series([Series("a", "train", X.copy(), X.copy())])
        await pilot.pause()
        assert not drawings
        app.chart.set_series([Series("a", "train", np.arange(200.0), np.arange(200.0))])
        await pilot.pause()
        assert len(drawings) == 1
        assert app.chart.view == (20, 40)


async def test_changing_the_x_axis_resets_view_and_cursor():
    async with drawn(RISING) as (app, _):
        app.chart.set_view(20, 40)
        app.chart.set_cursor(30)
        app.chart.x_axis = "time"
        assert (app.chart.view, app.chart.cursor) == (None, None)
        assert "1m00" in app.rows[-1]


def colours_of(app):
    """The colours of the signs in the legend, in order."""
    strip = app.chart.render_line(0)
    return [segment.style.color.name for segment in strip if segment.text == "●" and segment.style is not None]


async def test_a_curve_keeps_its_colour_when_others_are_removed():
    async with drawn(RISING, FALLING, Series("c", "test", X, X), size=(100, 12)) as (app, pilot):
        before = colours_of(app)
        assert len(set(before)) == 3
        app.chart.set_series([FALLING, Series("c", "test", X, X)])
        assert colours_of(app) == before[1:]
        app.theme = "textual-light"
        await pilot.pause()
        light = colours_of(app)
        assert not set(light) & set(before)
        app.chart.dimmed = True
        assert colours_of(app) != light
