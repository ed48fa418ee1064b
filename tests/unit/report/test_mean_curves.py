"""Mean curves over several seeds, and their table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.report.seed_statistics import MEAN_POINTS, Floats, mean_curve


def line(*values: float | None, start: float = 1.0) -> tuple[Floats, Floats]:
    """One value per epoch from `start` on."""
    return start + np.arange(len(values), dtype=np.float64), np.array(values, dtype=np.float64)


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=5))
def test_at_equal_epochs_the_curve_is_the_mean_with_the_sample_deviation(curves):
    found = mean_curve(line(*values) for values in curves)
    assert found.x.tolist() == [1.0, 2.0, 3.0] and found.count == len(curves)
    assert np.allclose(found.mean, np.mean(curves, axis=0)) and np.allclose(found.std, np.std(curves, axis=0, ddof=1))


def test_a_mean_covers_only_the_range_common_to_all_curves_and_without_one_there_is_none():
    found = mean_curve([line(0.1, 0.2, 0.3, 0.4), line(0.4, 0.5, start=2.0)])
    assert found.x.tolist() == [2.0, 3.0]
    assert found.mean == pytest.approx([0.3, 0.4])
    assert mean_curve([line(0.1, 0.2), line(0.3, start=7.0)]) is None
    assert mean_curve([]) is None and mean_curve([line(None)]) is None


def test_at_unequal_times_curves_are_interpolated_linearly():
    found = mean_curve([(np.array([0.0, 10.0]), np.array([0.0, 1.0])), (np.array([0.0, 4.0, 12.0]), np.zeros(3))])
    assert found.x.tolist() == [0.0, 4.0, 10.0]
    assert found.mean == pytest.approx([0.0, 0.2, 0.5])


def test_a_single_curve_is_unchanged_and_has_no_deviation():
    x = np.arange(2.0 * MEAN_POINTS)
    found = mean_curve([(x, x**2)])
    assert found.std is None and found.count == 1
    assert np.array_equal(found.x, x) and np.array_equal(found.mean, x**2)


def test_many_points_at_unequal_positions_give_a_bounded_number():
    draw = np.random.default_rng(0)
    places = [np.sort(draw.uniform(0, 100, MEAN_POINTS)) for _ in range(3)]
    found = mean_curve((x, 2 * x) for x in places)
    assert len(found.x) == MEAN_POINTS
    assert np.allclose(found.mean, 2 * found.x)


def test_a_non_finite_value_is_a_gap_and_the_first_finite_value_of_an_epoch_counts():
    x, y = np.array([1.0, 2.0, np.nan, 3.0, 3.0, 3.0]), np.array([0.1, np.nan, 0.2, np.nan, 0.3, 0.9])
    found = mean_curve([(x, y)])
    assert found.x.tolist() == [1.0, 2.0, 3.0]
    assert np.array_equal(found.mean, [0.1, np.nan, 0.3], equal_nan=True)


def test_the_mean_has_a_gap_where_one_curve_has_a_gap():
    found = mean_curve([line(0.1, 0.2, None, 0.4, 0.5), (np.array([1.0, 2.5, 3.5, 4.5, 5.0]), np.zeros(5))])
    assert found.x.tolist() == [1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    assert np.isnan(found.mean).tolist() == [False, False, True, True, True, False, False, False]
