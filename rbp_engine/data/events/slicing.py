"""Events to frames: T slices of equal event count or equal time, and the number of events per pixel in each."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rbp_engine.vocabulary import FramesBy

Integers = npt.NDArray[np.int64]


def slice_by_number(events: int, timesteps: int) -> Integers:
    """The slice [events] of each event: `events // timesteps` events per slice, the last one takes the remainder.

    Raises ValueError for fewer events than slices.
    """
    if events < timesteps:
        raise ValueError(f"{events} events cannot fill {timesteps} timesteps")
    slices: Integers = np.minimum(np.arange(events) // (events // timesteps), timesteps - 1)
    return slices


def slice_by_time(times: npt.NDArray[Any], timesteps: int) -> Integers:
    """The slice [events] of each event, from its time in µs; the last one takes the remainder of the integer division.

    Raises ValueError for no events.
    """
    if len(times) == 0:
        raise ValueError(f"0 events cannot fill {timesteps} timesteps")
    times = times.astype(np.int64)
    width = max(1, int(times[-1] - times[0]) // timesteps)
    slices: Integers = np.clip((times - times[0]) // width, 0, timesteps - 1)
    return slices


def integrate(
    times: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    rows: npt.NDArray[Any],
    polarities: npt.NDArray[Any],
    timesteps: int,
    frames_by: FramesBy,
    side: int,
    *,
    in_order: bool = True,
) -> Integers:
    """Event counts [T, 2, side, side] int64; a channel is a polarity, 0 or 1.

    Raises ValueError for too few events, for one outside the sensor, and with `in_order` for a time before that of the
    event before it.
    """
    early = np.flatnonzero(times[1:] < times[:-1])
    if in_order and len(early):
        before, after = times[early[0]], times[early[0] + 1]
        raise ValueError(f"its time runs backwards, from {before} to {after} µs at event {early[0] + 1}")
    for name, values, limit in (("row", rows, side), ("column", columns, side), ("polarity", polarities, 2)):
        if len(values) and (values.min() < 0 or values.max() >= limit):
            outside = values.min() if values.min() < 0 else values.max()
            raise ValueError(f"an event has the {name} {outside}, expected 0 to {limit - 1}")
    by_number = frames_by == "number"
    slices = slice_by_number(len(times), timesteps) if by_number else slice_by_time(times, timesteps)
    place = (slices * 2 + polarities.astype(np.int64)) * side + rows.astype(np.int64)
    counts: Integers = np.bincount(place * side + columns.astype(np.int64), minlength=timesteps * 2 * side * side)
    return counts.reshape(timesteps, 2, side, side)
