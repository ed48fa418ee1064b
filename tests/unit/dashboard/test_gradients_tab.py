"""The tab "Gradients": its table and its chart."""

import math

import numpy as np
import pytest

from rbp_engine.run.files.events import Event, GradientFidelity, RunStart
from rbp_engine.run.history.history import HistoryBuilder
from rbp_tui.charts.probe_rows import fidelity_rows
from rbp_tui.dashboard.network.gradients import AGREEMENT, ERROR, selected_series


def texts(rows):
    cells = zip(*(one.cells for one in rows.columns), strict=True)
    return [one.heading for one in rows.columns], [[cell.plain for cell in row] for row in cells]


START = RunStart(steps_per_epoch=10, weight_layers=["conv", "own", "out"], neuron_layers=["lif1", "lif2"])


def sample(step):
    weights = [0.8, None, 1.0], [0.7, None, 1.0]  # cosines and ratios of norms
    return GradientFidelity(8, 0.9 + step / 1000, 1.1, *weights, [0.25, None], [0.6, None, step / 1000])


@pytest.fixture
def history():
    builder = HistoryBuilder()._by_kind[GradientFidelity]
    for step, body in enumerate([START, sample(10), sample(20)]):
        builder.add(Event(step, 1.0, 1, 0, 10 * step, body))
    return builder.history()


def test_the_chart_shows_the_selected_weights_or_neurons_beside_the_whole(history):
    title, series = selected_series(history, 1)
    assert title == AGREEMENT and [one.y[0] for one in series] == [0.91, 0.7, 0.8]
    assert all(one.x.tolist() == [1.0, 2.0] for one in series)
    title, series = selected_series(history, 4)
    assert title == ERROR and [(one.label, one.y[0]) for one in series] == [("all neurons", 0.25), ("lif1", 0.25)]
    assert "BPTT itself" in fidelity_rows(history, 0, "bptt").note


def test_layers_that_were_not_measured_leave_gaps(history):
    _, [mean, own] = selected_series(history, 5)
    assert np.isnan(own.y).all() and mean.y.tolist() == [0.25, 0.25]
    unknown = HistoryBuilder()._by_kind[GradientFidelity]
    unknown.add(Event(0, 1.0, 1, 0, 0, START))
    unknown.add(Event(1, 1.0, 1, 0, 10, GradientFidelity(2, None, None, *[[None] * 3] * 2, [None] * 2, [None] * 3)))
    nothing = unknown.history()
    assert nothing is not None and math.isnan(nothing.cosine[0])
    assert {cell for row in texts(fidelity_rows(nothing, 0, "rate_m"))[1] for cell in row[2:5]} == {"–"}
    assert np.isnan(selected_series(nothing, 4)[1][0].y).all()
