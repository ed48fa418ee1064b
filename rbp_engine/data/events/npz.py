"""Events in .npz files, as SpikingJelly leaves them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.aedat import MOST_EVENTS
from rbp_engine.data.events.archives import ERRORS, NoArray, read_npz
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.errors import DataError

Array = npt.NDArray[Any]

# Some errors of numpy repeat what the file says.
_LONGEST_REASON: Final = 120


def read_events(path: Path) -> list[Array]:
    """Times, columns, rows and polarities, each [events], in the arrays t, x, y and p of a file.

    Raises EventDataError that names the file, DataError for what is no file or too large, and OSError.
    """
    names = ["t", "x", "y", "p"]
    with archive_errors(path, names):
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
def archive_errors(path: Path, names: list[str]) -> Iterator[None]:
    """Turn what reading these arrays of a file raises into EventDataError."""
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
            f"{path} is truncated or damaged ({first_line(error)}): convert or copy it again"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error, shortened; its type, if it says nothing."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
