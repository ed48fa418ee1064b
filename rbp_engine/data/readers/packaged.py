"""Tables of numbers in Python packages, read without importing the packages, which takes a second."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rbp_engine.errors import DataError


def read_packaged(module: str, file: str) -> NDArray[np.uint8]:
    """The rows of `file`, comma-separated numbers from 0 to 255, in the folder of `module`.

    Raises DataError if it is not there, or damaged.
    """
    specification = importlib.util.find_spec(module)
    for folder in (specification and specification.submodule_search_locations) or []:
        path = Path(folder) / file
        if path.is_file():
            try:
                return np.loadtxt(path, delimiter=",", dtype=np.uint8, ndmin=2)
            except Exception as error:  # a damaged file may raise anything in its reader
                raise DataError(f"{path} is damaged ({error}): install {module} again") from error
    raise DataError(f"{module}, as it is installed here, has no {file}: install another version of it")
