"""Tables of numbers in Python packages, read without importing the packages, which takes a second."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_packaged(module: str, file: str) -> NDArray[np.uint8] | None:
    """The rows of `file`, comma-separated numbers from 0 to 255, in the folder of `module`; None if it is not there.

    Raises ValueError for a damaged file.
    """
    specification = importlib.util.find_spec(module)
    for folder in (specification and specification.submodule_search_locations) or []:
        path = Path(folder) / file
        if path.is_file():
            return np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return None
