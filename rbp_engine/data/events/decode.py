"""Decode one recording of any layout to frames [T, 2, 128, 128], in the orientation in which the layout stores it."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rbp_engine.data.events.aedat import read_aedat
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.layouts import FoundLayout
from rbp_engine.data.events.slicing import SIDE, integrate
from rbp_engine.vocabulary import FramesBy

Array = npt.NDArray[Any]


def decode(found: FoundLayout, path: Path, *, timesteps: int, frames_by: FramesBy) -> tuple[Array, Array | None]:
    """Event counts of a recording, [T, 2, 128, 128], and the label if the file stores one (layout 4).

    Layout 4 may hold fractions, which are kept. Raises EventDataError, which names the file, if it is damaged, of
    another kind, or has another T.
    """
    if found.files == "tensors":
        frames, label = _read_tensors(path)
        return _checked(path, frames, timesteps), label
    if found.files == "frames":
        return _checked(path, _read_arrays(path, ["frames" if found.layout == 3 else "arr_0"])[0], timesteps), None
    if found.files == "aedat":
        times, columns, rows, polarities = read_aedat(path)
    else:
        times, columns, rows, polarities = _read_arrays(path, ["t", "x", "y", "p"])
    try:
        return integrate(times, rows, columns, polarities, timesteps=timesteps, frames_by=frames_by), None
    except ValueError as error:
        raise EventDataError(f"{path} is no recording of CIFAR10-DVS ({error}): copy it again") from error


def _read_tensors(path: Path) -> tuple[Array, Array]:
    """Frames and the stored label of a file of layout 4; loaded with weights_only, so that it cannot run code."""
    try:
        frames, label = torch.load(path, map_location="cpu", weights_only=True)
        return frames.numpy(), label.reshape(-1).numpy()
    except OSError:
        raise
    except Exception as error:  # torch has no specific error for a broken file
        raise EventDataError(
            f"{path} is damaged or not [frames, label] in tensors ({_first_line(error)}): convert or copy it again"
        ) from error


def _read_arrays(path: Path, names: list[str]) -> list[Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except KeyError as error:
        raise EventDataError(
            f"{path} holds no array {_first_line(error)}, expected {', '.join(names)}: convert or copy it again"
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise EventDataError(
            f"{path} is truncated or damaged ({_first_line(error)}): convert or copy it again"
        ) from error


def _checked(path: Path, frames: Array, timesteps: int) -> Array:
    expected = (timesteps, 2, SIDE, SIDE)
    if frames.shape != expected:
        raise EventDataError(
            f"{path} holds frames of the shape {list(frames.shape)}, expected {list(expected)}: convert it again for "
            f"T = {timesteps}, or set T to what it has"
        )
    if not (np.isfinite(frames).all() and frames.min() >= 0):
        raise EventDataError(f"{path} holds negative or non-finite counts: convert or copy it again")
    return frames


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
