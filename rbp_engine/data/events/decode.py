"""Decode one recording of any layout to frames [T, 2, 128, 128], in the orientation in which the layout stores it."""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.aedat import MOST_EVENTS, read_aedat
from rbp_engine.data.events.archives import ERRORS, NoArray, read_npz, read_tensors
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.layouts import FoundLayout
from rbp_engine.data.events.slicing import SIDE, integrate
from rbp_engine.errors import DataError
from rbp_engine.vocabulary import FramesBy

Array = npt.NDArray[Any]

# The published script leaves up to nine numbers in the place of a label.
_MOST_LABELS: Final = 1000
# Some errors of numpy repeat what the file says.
_LONGEST_REASON: Final = 120
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
        times, columns, rows, polarities = read_aedat(path)
    else:
        times, columns, rows, polarities = _read_events(path)
    try:
        return integrate(times, rows, columns, polarities, timesteps=timesteps, frames_by=frames_by), None
    except ValueError as error:
        raise EventDataError(f"{path} is no recording of CIFAR10-DVS ({error}): copy it again") from error


def _read_tensors(path: Path, timesteps: int) -> tuple[Array, Array]:
    """Frames and the stored label of a file of layout 4."""
    try:
        frames, label = read_tensors(path, (_MOST_NUMBERS, _MOST_LABELS))
    except DataError:
        raise
    except ERRORS as error:
        raise EventDataError(
            f"{path} is damaged or not [frames, label] in tensors ({_first_line(error)}): convert or copy it again"
        ) from error
    return _checked(path, frames, timesteps), label.reshape(-1)


def _read_frames(path: Path, name: str, timesteps: int) -> Array:
    with _archive_errors(path, [name]):
        member = read_npz(path, [name])[name]
        _check_shape(path, member.shape, timesteps)
        # A copy, because torch does not take an array that cannot be written.
        frames = np.array(member.read())
    return _checked(path, frames, timesteps)


def _read_events(path: Path) -> list[Array]:
    """Times, columns, rows and polarities, each [events]."""
    names = ["t", "x", "y", "p"]
    with _archive_errors(path, names):
        members = read_npz(path, names)
        shapes = {member.shape for member in members.values()}
        if len(shapes) != 1 or len(members["t"].shape) != 1:
            raise ValueError(f"{', '.join(names)} are not four rows of equal length")
        if members["t"].shape[0] > MOST_EVENTS:
            raise ValueError(f"it has {members['t'].shape[0]} events, more than {MOST_EVENTS}")
        arrays = [members[name].read() for name in names]
        if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
            raise ValueError("it holds numbers that are not finite")
    return arrays


@contextmanager
def _archive_errors(path: Path, names: list[str]) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except NoArray as error:
        raise EventDataError(
            f"{path} holds no array '{error}', expected {', '.join(names)}: convert or copy it again"
        ) from error
    except ERRORS as error:
        raise EventDataError(
            f"{path} is truncated or damaged ({_first_line(error)}): convert or copy it again"
        ) from error


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


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
