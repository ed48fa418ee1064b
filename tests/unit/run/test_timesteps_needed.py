"""The smallest T that is nearly as accurate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.timesteps_needed import timesteps_needed

shares = st.floats(0.0, 1.0)


@given(st.lists(shares, min_size=1), st.floats(0.0, 0.1))
def test_it_is_near_enough_and_no_earlier_one_is(top1, tolerance):
    needed = timesteps_needed(top1, tolerance)
    assert 1 <= needed <= len(top1)
    assert top1[-1] - top1[needed - 1] <= tolerance + 1e-6
    assert all(top1[-1] - earlier > tolerance for earlier in top1[: needed - 1])


def test_half_a_point_counts_as_within_and_a_higher_accuracy_too():
    assert timesteps_needed([0.8, 0.9, 0.904, 0.905]) == 2
    assert timesteps_needed([0.8, 0.8999, 0.904, 0.905]) == 3
    assert timesteps_needed([0.97, 0.9]) == 1


@pytest.mark.parametrize("top1", [[], [0.5, None], [0.5, math.nan]])
def test_nothing_is_needed_of_an_unknown_accuracy(top1):
    assert timesteps_needed(top1) is None
