"""The orientations of the layouts of CIFAR10-DVS, and how to convert them to the same one.

x and y are the two parts of the raw address in the AEDAT 2.0 file. A network trained on frames of one orientation
is wrong on those of another.
"""

from typing import Any, Final

import numpy.typing as npt

from rbp_engine.vocabulary import Orientation

CANONICAL: Final = "row 127-x, column 127-y"
STORED: Final = {
    1: "row y, column x",
    3: "row 127-x, column 127-y",
    4: "row 127-x, column y",
    5: "row y, column 127-x",
}


def to_canonical(frames: npt.NDArray[Any], layout: int) -> npt.NDArray[Any]:
    """Frames [..., row, column] of a layout as a view with row 127−x and column 127−y."""
    if layout == 1:
        return frames.swapaxes(-1, -2)[..., ::-1, ::-1]
    if layout == 4:
        return frames[..., ::-1]
    if layout == 5:
        return frames.swapaxes(-1, -2)[..., ::-1]
    return frames


def describe(layout: int, orientation: Orientation) -> str:
    """The orientation of the frames and, if they were turned, their original one."""
    stored = STORED[layout]
    if orientation == "stored" or stored == CANONICAL:
        return f"{stored}, as stored"
    return f"{CANONICAL}, turned from {stored}"
