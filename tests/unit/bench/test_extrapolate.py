"""The plane through small measurements, and the largest settings that fit below a limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.bench.results.extrapolate import Plane, through

BYTES = st.integers(0, 2**32).map(float)
PLANES = st.builds(Plane, BYTES, BYTES, BYTES)
BATCHES, STEPS = st.integers(1, 512), st.integers(1, 64)
MEASURED = st.tuples(BYTES, BYTES, BYTES)


@given(PLANES, st.integers(1, 32), st.integers(1, 32), st.integers(2, 32), BATCHES, STEPS)
def test_three_points_determine_the_plane(plane, batch, more, timesteps, asked_batch, asked_timesteps):
    points = [(batch, timesteps), (batch + more, timesteps // 2), (batch + more, timesteps)]
    found = through({point: plane.at(*point) for point in points})
    largest = plane.at(max(asked_batch, batch + more), max(asked_timesteps, timesteps))
    assert found.at(asked_batch, asked_timesteps) == pytest.approx(
        plane.at(asked_batch, asked_timesteps), rel=1e-6, abs=1e-6 * largest + 1e-6
    )


@given(MEASURED, st.integers(1, 32), st.integers(1, 32), st.integers(2, 32))
def test_more_images_and_timesteps_never_cost_less_whatever_is_measured(values, batch, more, timesteps):
    points = [(batch, timesteps), (batch + more, timesteps // 2), (batch + more, timesteps)]
    plane = through(dict(zip(points, values, strict=True)))
    assert plane.fixed >= 0 and plane.step >= 0
    assert plane.image >= -1e-6 * max(1.0, plane.step * timesteps)
    assert plane.at(batch + more, timesteps) >= values[2] * (1 - 1e-9)


def test_at_one_timestep_and_at_a_batch_of_one_two_points_suffice():
    assert through({(2, 1): 30.0, (4, 1): 50.0}) == Plane(10.0, 10.0, 0.0)
    assert through({(1, 2): 30.0, (1, 4): 50.0}) == Plane(10.0, 0.0, 10.0)


@given(PLANES, BATCHES, BYTES.map(lambda value: 64 * value))
def test_the_largest_number_of_timesteps_is_the_last_that_fits(plane, batch, limit):
    largest = plane.largest_timesteps(batch, limit)
    near = 1e-9 * (limit + 1)
    if largest is None:
        assert plane.at(batch, 10**6) <= limit
    else:
        assert largest == 0 or plane.at(batch, largest) <= limit + near
        assert plane.at(batch, largest + 1) > limit - near


@given(PLANES, STEPS, BYTES.map(lambda value: 64 * value))
def test_the_largest_batch_is_the_last_that_fits(plane, timesteps, limit):
    largest = plane.largest_batch(timesteps, limit)
    near = 1e-9 * (limit + 1)
    if largest is None:
        assert plane.at(10**6, timesteps) <= limit
    else:
        assert largest == 0 or plane.at(largest, timesteps) <= limit + near
        assert plane.at(largest + 1, timesteps) > limit - near
