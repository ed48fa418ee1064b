"""A .npy file written sample by sample, in the narrowest type that holds all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# float16 is exact for integers up to 2048 and for fractions within a relative 5e-4; its largest value is 65504.
_TYPES: Final = ("uint8", "float16", "float32")


def write_narrowly(
    path: Path, count: int, shape: tuple[int, ...], sample: Callable[[int], npt.NDArray[Any] | None]
) -> str:
    """Write `count` samples of numbers ≥ 0, each of this shape, into a file; returns the type: uint8, float16, float32.

    Where a sample needs a wider type than those before it, all are asked for again. One that is None is left out.
    Written as a file, not a memory map: then a full disk is an OSError, and does not kill the process.
    """
    needed = _TYPES[0]
    while True:
        kind = needed
        with path.open("wb") as file:
            header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (count, *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for number in range(count):
                if (values := sample(number)) is not None:
                    needed = max(kind, _narrowest_type(values), key=_TYPES.index)
                    if needed != kind:
                        break
                    file.write(np.ascontiguousarray(values, dtype=kind).tobytes())
            else:
                return kind


def _narrowest_type(values: npt.NDArray[Any]) -> str:
    """The narrowest type that holds these numbers: integers exactly, fractions to 5e-4."""
    largest = float(values.max())
    whole = values.dtype.kind in "iub" or bool((values == np.floor(values)).all())
    if whole:
        return "uint8" if largest <= 255 else "float16" if largest <= 2048 else "float32"
    return "float16" if largest <= 65504 else "float32"
