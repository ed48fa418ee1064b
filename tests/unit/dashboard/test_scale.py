import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.ticks import place, short, tick_labels, ticks

finite = st.floats(-1e12, 1e12)
positive = st.floats(1e-9, 1e12)
units = st.sampled_from([None, "step", "epoch", "time"])
most = st.integers(2, 12)


@given(st.tuples(finite, finite) | st.tuples(positive, positive, st.just(True)), most, units)
def test_ticks_ascend_inside_the_axis_and_are_not_too_many(ends, most, unit):
    low, high, *log = ends
    axis = Axis.spanning(*sorted((low, high)), log=bool(log))
    found = ticks(axis, most, unit)
    assert 2 <= len(found) <= most
    assert all(a < b for a, b in pairwise(found))
    assert axis.low <= found[0] and found[-1] <= axis.high


@given(finite, finite, most, units)
def test_labels_of_different_ticks_differ(low, high, most, unit):
    axis = Axis.spanning(*sorted((low, high)))
    if axis.high - axis.low > max(1e-3, 1e-5 * max(abs(axis.low), abs(axis.high))):
        labels = tick_labels(ticks(axis, most, unit), axis, unit)
        assert len(set(labels)) == len(labels) or unit == "time"


@pytest.mark.parametrize(
    ("axis", "unit", "labels"),
    [
        (Axis(0, 1), None, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis(0, 53_000), "step", ["0", "10k", "20k", "30k", "40k", "50k"]),
        (Axis(0, 2.5e6), "step", ["0", "500k", "1.0M", "1.5M", "2.0M", "2.5M"]),
        (Axis(0, 1), "time", ["0s", "0.2s", "0.4s", "0.6s", "0.8s", "1s"]),
        (Axis(0, 5 * 86400), "time", ["0s", "1d00h", "2d00h", "3d00h", "4d00h", "5d00h"]),
        (Axis(1e-4, 1e1, log=True), None, ["1e-4", "0.001", "0.01", "0.1", "1", "10"]),
        (Axis(95_310, 95_340), "step", ["95.31k", "95.32k", "95.33k", "95.34k"]),
        (Axis(-1e300, 1e300), None, ["-1e300", "-5e299", "0", "5e299", "1e300"]),
        (Axis(0, 2000), "step", ["0", "500", "1.0k", "1.5k", "2.0k"]),
        (Axis(999, 1001), None, ["999.0", "999.5", "1000.0", "1000.5", "1001.0"]),
        (Axis(0.2, 1.2, log=True), None, ["0.2", "0.5", "1"]),
        (Axis(0.35, 0.42, log=True), None, ["0.36", "0.38", "0.40", "0.42"]),
        (Axis(1e-6, 1e-5), None, ["2e-6", "4e-6", "6e-6", "8e-6", "1e-5"]),
    ],
)
def test_labels_are_round_and_short(axis, unit, labels):
    assert tick_labels(ticks(axis, 6, unit), axis, unit) == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2136, "0.214"), (99.96, "100"), (999.7, "1.00k"), (0.0, "0"), (-0.5, "-0.500"), (1.2e-4, "1.2e-4"),
        (3e20, "3e20"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_a_value_is_shown_with_three_digits(value, text):
    assert short(value) == text


def test_a_position_is_shown_in_its_unit():
    assert place(48_120.0, "step") == "48120"
    assert place(121.0, "epoch") == "121"
    assert place(12.25, "epoch") == "12.25"
    assert place(12_000.0, "time") == "3h20"


@given(finite, finite, st.floats(0.1, 5), st.floats(0, 1))
def test_zooming_keeps_the_value_under_the_pointer(low, high, factor, around):
    axis = Axis.spanning(*sorted((low, high)))
    value = axis.value(around)
    assert math.isclose(axis.zoomed(factor, around).position(value), around, abs_tol=1e-6)


@given(st.floats(-3, 3), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_panning_stops_at_the_ends(share, one, other, log):
    outer = Axis(1.0, 1000.0, log)
    low, high = sorted((outer.value(one), outer.value(other)))
    axis = Axis.spanning(low, high, log=log).clipped(outer) or outer
    panned = axis.panned(share, outer)
    assert panned.low >= outer.low * (1 - 1e-6)
    assert panned.high <= outer.high * (1 + 1e-6)
