from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.data.events.slicing import integrate, slice_by_number, slice_by_time


def events(count: int, seed: int, side: int = 8) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "times": np.sort(random.integers(0, 50 * count, count)),
        "rows": random.integers(0, side, count, dtype=np.uint8),
        "columns": random.integers(0, side, count, dtype=np.uint8),
        "polarities": random.integers(0, 2, count).astype(bool),
    }


@given(st.integers(1, 20), st.integers(0, 300), st.integers(0, 99), st.sampled_from(["number", "time"]))
def test_slicing_neither_loses_nor_adds_events(timesteps, more, seed, frames_by):
    recording = events(timesteps + more, seed)
    frames = integrate(**recording, timesteps=timesteps, frames_by=frames_by, side=8)
    assert frames.shape == (timesteps, 2, 8, 8)
    expected = np.zeros((2, 8, 8), np.int64)
    np.add.at(expected, (recording["polarities"].astype(int), recording["rows"], recording["columns"]), 1)
    assert np.array_equal(frames.sum(0), expected)


@given(st.integers(1, 30), st.integers(0, 400))
def test_slices_by_number_are_in_order_and_equal_and_the_last_takes_the_remainder(timesteps, more):
    count = timesteps + more
    slices = slice_by_number(count, timesteps)
    sizes = np.bincount(slices, minlength=timesteps)
    assert (np.diff(slices) >= 0).all() and set(sizes[:-1].tolist()) <= {count // timesteps}
    assert sizes[-1] == count // timesteps + count % timesteps


@given(st.integers(1, 30), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=60))
def test_slices_by_time_are_in_order_and_equally_long(timesteps, times):
    ordered = np.array(sorted(times), dtype=np.uint32)
    slices = slice_by_time(ordered, timesteps)
    assert (np.diff(slices) >= 0).all() and slices.min() >= 0 and slices.max() < timesteps
    width = max(1, (int(ordered[-1]) - int(ordered[0])) // timesteps)
    inside = slices < timesteps - 1
    assert ((ordered.astype(np.int64) - int(ordered[0]))[inside] // width == slices[inside]).all()


def test_too_few_events_and_events_off_the_sensor_are_refused():
    with pytest.raises(ValueError, match="3 events cannot fill 4 timesteps"):
        slice_by_number(3, 4)
    for row in (128, -1):
        recording = events(9, 0) | {"rows": np.full(9, row)}
        with pytest.raises(ValueError, match=f"an event has the row {row}, expected 0 to 127"):
            integrate(**recording, timesteps=2, frames_by="number", side=128)
