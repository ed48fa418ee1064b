"""The smallest t whose accuracy is within half a point of that at T."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.timesteps_needed import timesteps_needed


@given(st.lists(st.floats(0.0, 1.0), min_size=1), st.floats(0.0, 0.1))
def test_the_timesteps_needed_are_near_enough_and_no_fewer_are(top1, tolerance):
    needed = timesteps_needed(top1, tolerance)
    assert 1 <= needed <= len(top1)
    assert top1[-1] - top1[needed - 1] <= tolerance + 1e-6
    assert all(top1[-1] - earlier > tolerance for earlier in top1[: needed - 1])


@pytest.mark.parametrize(
    ("top1", "needed"),
    [
        ([0.8, 0.9, 0.904, 0.905], 2),  # half a point counts as within
        ([0.8, 0.8999, 0.904, 0.905], 3),
        ([], None),
        ([0.5, None], None),
        ([0.5, math.nan], None),
    ],
)
def test_the_timesteps_needed_are_the_first_within_half_a_point_and_none_of_an_unknown_accuracy(top1, needed):
    assert timesteps_needed(top1) == needed
