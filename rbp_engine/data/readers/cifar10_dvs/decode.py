"""Decode one recording of CIFAR10-DVS to frames [T, 2, 128, 128].

x and y are the two parts of the raw address in the AEDAT 2.0 file. It stores rows of y and columns of x; SpikingJelly
turns them. A network trained on frames of one orientation is wrong on those of another.
"""

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.aedat import read_aedat
from rbp_engine.data.events.archives import read_arrays, read_events
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.slicing import counted
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout
from rbp_engine.vocabulary import FramesBy, Orientation

Array = npt.NDArray[Any]

# Columns and rows of the sensor.
SIDE: Final = 128
_CANONICAL: Final = "row 127-x, column 127-y"
# Bytes of an array of frames: 64-bit numbers of 512 timesteps.
_LARGEST: Final = 2**27 + 2**16


def decode(
    found: FoundLayout, path: Path, *, timesteps: int, frames_by: FramesBy, orientation: Orientation = "canonical"
) -> Array:
    """Event counts of a recording, [T, 2, 128, 128].

    Raises EventDataError, which names the file, if it is damaged, of another kind, or has another T.
    """
    if found.files == "frames":
        return _read_frames(path, timesteps)
    events: Sequence[Array] = read_aedat(path) if found.files == "aedat" else read_events(path)
    # Its events are counted in the order in which they were stored, whatever their times.
    frames = counted(
        path, events, timesteps=timesteps, frames_by=frames_by, side=SIDE, what="CIFAR10-DVS", in_order=False
    )
    if found.files == "aedat" and orientation == "canonical":
        return frames.swapaxes(-1, -2)[..., ::-1, ::-1]
    return frames


def describe(found: FoundLayout, orientation: Orientation) -> str:
    """The orientation of the frames and, if they were turned, their original one."""
    if found.files != "aedat":
        return f"{_CANONICAL}, as stored"
    return "row y, column x, as stored" if orientation == "stored" else f"{_CANONICAL}, turned from row y, column x"


def _read_frames(path: Path, timesteps: int) -> Array:
    [frames] = read_arrays(path, ["frames"], _LARGEST)
    expected = (timesteps, 2, SIDE, SIDE)
    if frames.shape != expected:
        raise EventDataError(
            f"{path} holds frames of the shape {reprlib.repr(list(frames.shape))}, expected {list(expected)}: "
            f"convert it again for T = {timesteps}, or set T to what it has"
        )
    if not (np.isfinite(frames).all() and frames.min() >= 0):
        raise EventDataError(f"{path} holds negative or non-finite counts: convert or copy it again")
    return frames
