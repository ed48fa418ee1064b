"""Load a user's own network or data set from the copy in a run. This executes the user's code."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rbp_engine.errors import OwnCodeError
from rbp_engine.vocabulary import OWN_CODE


def is_own(name: str) -> bool:
    """Whether a name refers to the user's own code, like `nets.py:MyNet`."""
    return OWN_CODE.fullmatch(name) is not None


def load_own(name: str, folder: Path) -> Callable[..., Any]:
    """Load the class or function that `name` refers to, from the file in `folder`.

    Raises OwnCodeError if the file is not directly in the folder, or does not define it; exceptions of the file itself
    propagate.
    """
    match = OWN_CODE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no name of own code, like nets.py:MyNet")
    if "/" in match["file"]:
        raise OwnCodeError(f"{name!r} names a file outside {folder}, where the run's copy of its code is")
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
        raise OwnCodeError(f"{path.name} has no class or function called {match['name']}")
    return found  # type: ignore[no-any-return]


def call_own(name: str, folder: Path, **arguments: Any) -> Any:
    """Call the class or function that `name` refers to and return its result; its exceptions propagate."""
    return load_own(name, folder)(**arguments)


def own_frames(error: BaseException, folder: Path) -> list[traceback.FrameSummary]:
    """The stack frames of an error that are in the user's own code, in `folder`."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]


def is_from_own_code(error: BaseException, folder: Path) -> bool:
    """Whether an error was raised in the user's own code, or while loading or calling it."""
    called = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
    return bool(called or own_frames(error, folder))
