"""Load a user's own network or data set from the copy in a run. This executes the user's code."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rbp_engine.vocabulary import OWN_CODE


def is_own(name: str) -> bool:
    """Whether a name like `nets.py:MyNet` means a file of the user's."""
    return OWN_CODE.fullmatch(name) is not None


def load_own(name: str, folder: Path) -> Callable[..., Any]:
    """The class or function that `name` means, from the file in `folder`.

    Raises ValueError where the file has nothing of that name; what the file itself raises comes through.
    """
    match = OWN_CODE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no name of own code, like nets.py:MyNet")
    path = folder / match["file"]
    module_name = f"own_{path.stem}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    if specification is None or specification.loader is None:
        raise ValueError(f"{path} cannot be loaded as a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module
    specification.loader.exec_module(module)
    found = getattr(module, match["name"], None)
    if not callable(found):
        raise ValueError(f"{path.name} has no class or function called {match['name']}")
    return found  # type: ignore[no-any-return]
