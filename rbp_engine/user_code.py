"""Load a user's own network, neuron, data set or metrics from the copy in a run. This executes the user's code."""

import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, Final

from rbp_engine.errors import OwnCodeError
from rbp_engine.untrusted_files import TEXT_LIMIT, read_untrusted
from rbp_engine.vocabulary import OWN_CODE

# The folders in which libraries have their networks.
_NETWORKS: Final = ("/torchvision/models/", "/timm/models/", "/spikingjelly/activation_based/model/")


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes the file itself: a compiled one beside it could hold other code."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)

    def get_data(self, path: str) -> bytes:
        return read_untrusted(path, TEXT_LIMIT)


def is_own(name: str) -> bool:
    """Whether a name refers to the user's own code, like `nets.py:MyNet`."""
    return OWN_CODE.fullmatch(name) is not None


def load_own(name: str, folder: Path) -> Callable[..., Any]:
    """Load the class or function that `name` refers to, from the file in `folder`.

    Raises OwnCodeError if the file does not define it, is a link, or is not in the folder itself; exceptions of the
    file itself propagate.
    """
    match = OWN_CODE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no name of own code, like nets.py:MyNet")
    path = folder / match["file"]
    if path.name != match["file"]:
        raise OwnCodeError(f"{name!r} leads out of {folder}, and a run executes only what is in it")
    for part in (folder, path):
        if part.is_symlink():
            raise OwnCodeError(f"{part} is a link, which no run makes: remove it, or put the file itself there")
    module_name = f"own_{path.stem}"
    loader = _Loader(module_name, str(path))
    specification = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    if specification is None:
        raise ValueError(f"{path} cannot be loaded as a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]  # as an import does
        raise
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


def is_from_library(error: BaseException) -> bool:
    """Whether an error was raised while a network of torchvision, timm or SpikingJelly was built or ran."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any(networks in Path(file).as_posix() for file in files for networks in _NETWORKS)
