"""A .npy file written sample by sample, in the narrowest type that holds all of them."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# float16 is exact for integers up to 2048 and for fractions within a relative 5e-4; its largest value is 65504.
_TYPES: Final = ("uint8", "float16", "float32")


class GrowingArray:
    """`samples` × `shape` numbers ≥ 0 in the file `path`: uint8 if that holds them all, else float16, else float32.

    Integers are exact in each (to 2^24 in float32). Written as a file, not a memory map: then a full disk is an
    OSError, and does not kill the process.
    """

    def __init__(self, path: Path, samples: int, shape: tuple[int, ...]) -> None:
        self.path = path
        self.shape = (samples, *shape)
        self.written = 0
        self.type = _TYPES[0]
        self.file = path.open("wb")
        self._write_header()

    def __enter__(self) -> "GrowingArray":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def append(self, sample: npt.NDArray[Any]) -> None:
        """Write the next sample."""
        needed = narrowest_type(sample)
        if _TYPES.index(needed) > _TYPES.index(self.type):
            self._widen(needed)
        self.file.write(np.ascontiguousarray(sample, dtype=self.type).tobytes())
        self.written += 1

    def _widen(self, wider: str) -> None:
        self.file.close()
        narrow = self.path.with_suffix(".narrow")
        self.path.rename(narrow)
        old, self.type = self.type, wider
        self.file = self.path.open("wb")
        self._write_header()
        with narrow.open("rb") as source:
            np.lib.format.read_magic(source)
            np.lib.format.read_array_header_1_0(source)
            sample_bytes = int(np.prod(self.shape[1:])) * np.dtype(old).itemsize
            for _ in range(self.written):
                self.file.write(np.frombuffer(source.read(sample_bytes), old).astype(wider).tobytes())
        narrow.unlink()

    def _write_header(self) -> None:
        header = {"descr": np.dtype(self.type).str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, header)


def narrowest_type(values: npt.NDArray[Any]) -> str:
    """The narrowest of uint8, float16 and float32 that holds numbers ≥ 0: integers exactly, fractions to 5e-4."""
    largest = float(values.max())
    whole = values.dtype.kind in "iub" or bool((values == np.floor(values)).all())
    if whole:
        return "uint8" if largest <= 255 else "float16" if largest <= 2048 else "float32"
    return "float16" if largest <= 65504 else "float32"
