"""Decode one recording of any layout to frames [T, 2, 128, 128], in the orientation in which the layout stores it."""

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.aedat import read_aedat
from rbp_engine.data.events.archives import ERRORS, read_npz, read_tensors
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.npz import archive_errors, first_line, read_events
from rbp_engine.data.events.slicing import counted
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout
from rbp_engine.errors import DataError
from rbp_engine.vocabulary import FramesBy

Array = npt.NDArray[Any]

# Columns and rows of the sensor.
SIDE: Final = 128
# The published script leaves up to nine numbers in the place of a label.
_MOST_LABELS: Final = 1000
# Of frames: those of 512 timesteps.
_MOST_NUMBERS: Final = 2**24


def decode(found: FoundLayout, path: Path, *, timesteps: int, frames_by: FramesBy) -> tuple[Array, Array | None]:
    """Event counts of a recording, [T, 2, 128, 128], and the label if the file stores one (layout 4).

    Layout 4 may hold fractions, which are kept. Raises EventDataError, which names the file, if it is damaged, of
    another kind, or has another T.
    """
    if found.files == "tensors":
        return _read_tensors(path, timesteps)
    if found.files == "frames":
        return _read_frames(path, "frames" if found.layout == 3 else "arr_0", timesteps), None
    if found.files == "aedat":
        events: Sequence[Array] = read_aedat(path)
    else:
        events = read_events(path)
    # Its events are counted in the order in which they were stored, whatever their times.
    frames = counted(
        path, events, timesteps=timesteps, frames_by=frames_by, side=SIDE, what="CIFAR10-DVS", in_order=False
    )
    return frames, None


def _read_tensors(path: Path, timesteps: int) -> tuple[Array, Array]:
    """Frames and the stored label of a file of layout 4."""
    try:
        frames, label = read_tensors(path, (_MOST_NUMBERS, _MOST_LABELS))
    except DataError:
        raise
    except ERRORS as error:
        raise EventDataError(
            f"{path} is damaged or not [frames, label] in tensors ({first_line(error)}): convert or copy it again"
        ) from error
    return _checked(path, frames, timesteps), label.reshape(-1)


def _read_frames(path: Path, name: str, timesteps: int) -> Array:
    with archive_errors(path, [name]):
        member = read_npz(path, [name])[name]
        _check_shape(path, member.shape, timesteps)
        # A copy, because torch does not take an array that cannot be written.
        frames = np.array(member.read())
    return _checked(path, frames, timesteps)


def _shape(timesteps: int) -> tuple[int, ...]:
    return (timesteps, 2, SIDE, SIDE)


def _check_shape(path: Path, shape: tuple[int, ...], timesteps: int) -> None:
    if shape != _shape(timesteps):
        raise EventDataError(
            f"{path} holds frames of the shape {reprlib.repr(list(shape))}, expected {list(_shape(timesteps))}: "
            f"convert it again for T = {timesteps}, or set T to what it has"
        )


def _checked(path: Path, frames: Array, timesteps: int) -> Array:
    _check_shape(path, frames.shape, timesteps)
    if not (np.isfinite(frames).all() and frames.min() >= 0):
        raise EventDataError(f"{path} holds negative or non-finite counts: convert or copy it again")
    return frames
