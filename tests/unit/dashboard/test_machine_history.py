"""The history of a machine's devices."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.dashboard.reading.machine_history import KEPT_S, LONGEST_GAP_S, MachineHistory
from rbp_tui.dashboard.reading.machine_reader import MachineReading

NOW = 1.7e9
MACHINE = MachineReading((), "", (0.5,), (0.0, 0.0, 0.0), 1, 4, 25, 100, ())


def history(*busy: tuple[float, float]) -> MachineHistory:
    """Readings of a core, as pairs of a time and how busy it was."""
    made = MachineHistory()
    for t, core in busy:
        made.add(replace(MACHINE, cores=(core,)), NOW + t)
    return made


def test_before_the_first_reading_there_is_nothing() -> None:
    assert MachineHistory().tracks(120.0, 10) == {} and MachineHistory().length_s == 0.0


def test_a_part_is_the_mean_of_its_readings_and_parts_without_one_are_unknown() -> None:
    track = history((0, 0.2), (1, 0.4), (10, 1.0)).tracks(40.0, 4)["core 0"]
    assert np.isnan(track[:2]).all() and track[2] == np.float64(0.2) and np.isclose(track[3], 0.7)


def test_a_reading_stands_for_the_time_since_the_one_before_unless_that_is_long() -> None:
    close = history((0, 0.2), (10, 0.8)).tracks(20.0, 20)["core 0"]
    far = history((0, 0.2), (LONGEST_GAP_S + 5, 0.8)).tracks(40.0, 40)["core 0"]
    assert np.isfinite(close[-10:]).all() and np.isfinite(far).sum() == 2


def test_fractions_of_memory_and_disk_are_kept() -> None:
    tracks = history((0, 0.5)).tracks(10.0, 2)
    assert tracks["memory"][-1] == 0.25 and tracks["disk"][-1] == 0.75


def test_an_hour_is_kept_and_a_clock_that_was_set_back_begins_anew() -> None:
    assert history(*((t, 0.5) for t in range(0, 2 * int(KEPT_S), 5))).length_s == KEPT_S
    assert history((0, 0.5), (10, 0.5), (-100, 0.5), (-98, 0.5)).length_s == 2.0


@given(
    times=st.lists(st.floats(0, 5000), min_size=1, max_size=40),
    busy=st.floats(0, 1),
    span=st.sampled_from([120.0, 600.0, 3600.0]),
    columns=st.integers(1, 50),
)
def test_what_is_known_lies_between_the_readings(times: list[float], busy: float, span: float, columns: int) -> None:
    made = history(*((t, busy if number % 2 else 0.0) for number, t in enumerate(sorted(times))))
    track = made.tracks(span, columns)["core 0"]
    known = track[np.isfinite(track)]
    assert len(track) == columns and np.isfinite(track[-1])
    assert known.min() >= 0.0 and known.max() <= busy + 1e-12
