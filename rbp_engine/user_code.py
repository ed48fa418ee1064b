"""Load a user's own network, neuron, data set or metrics from the copy in a run. This executes the user's code.

The files of one folder are the modules of one package, whose name nothing else has. An `import layers` in one of them
means the `layers.py` beside it, as `from . import layers` does, and in no other module of the process: so two runs can
be loaded that have different files of one name, and none of them hides a module of Python's. What is in the folder is
never taken from elsewhere, and what is not there only from where packages are installed.
"""

import builtins
import contextlib
import functools
import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from rbp_engine.errors import OwnCodeError
from rbp_engine.untrusted_files import TEXT_LIMIT, read_untrusted
from rbp_engine.vocabulary import OWN_CODE

# The folders in which libraries have their networks.
_NETWORKS: Final = ("/torchvision/models/", "/timm/models/", "/spikingjelly/activation_based/model/")
_IMPORTING: Final = re.compile(r"(_frozen_)?importlib|rbp_engine\.user_code$")
#: The folders of own code by the names of their packages.
_folders: Final[dict[str, Path]] = {}
# The folder that contains this package: a checkout of rbp, or the one of the installed packages.
_ROOT: Final = Path(__file__).resolve().parents[1]
# Where Python looks, before any own code is executed, which may add to it.
_PLACES_AT_START: Final = frozenset(os.path.realpath(place) for place in sys.path if place.startswith(os.sep))


def place_of_module(name: str, folders: Iterable[Path] | None = None) -> Path | None:
    """The file or folder of a top-level module, in `folders` or where Python looks; None if it has none.

    A folder without Python files, as one of data, is none.
    """
    found = PathFinder.find_spec(name, None if folders is None else [*map(str, folders)])
    if found is None:
        return None
    if found.origin is None:
        places = [Path(place) for place in found.submodule_search_locations or ()]
        return next((place for place in places if any(place.glob("*.py"))), None)
    file = Path(found.origin)
    place = file.parent if found.submodule_search_locations else file
    return place.parent.resolve() / place.name


def is_installed(place: Path) -> bool:
    """Whether a module is where packages are installed, with the standard library or by `pip install -e`; not in the
    working directory, on PYTHONPATH, in a checkout of rbp, or in a folder that was added while the program runs."""
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    loose = [_ROOT, *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
    if program := getattr(sys.modules.get("__main__"), "__file__", None):
        loose.append(Path(program).parent)
    with contextlib.suppress(FileNotFoundError):  # the working directory is gone
        loose.append(Path.cwd())
    return str(place.parent) in _PLACES_AT_START and place.parent not in [folder.resolve() for folder in loose]


class _Loader(SourceFileLoader):
    """Executes the file itself: a compiled one beside it could hold other code."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)

    def get_data(self, path: str) -> bytes:
        return read_untrusted(path, TEXT_LIMIT)

    def exec_module(self, module: ModuleType) -> None:
        importing = functools.partial(_import, module.__name__.partition(".")[0])
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": importing}
        super().exec_module(module)


def _import(
    package: str,
    name: str,
    variables: Mapping[str, object] | None = None,
    local: Mapping[str, object] | None = None,
    names: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    """What `import` does in own code: a module of its folder comes first."""
    own = sys.modules[package]
    top = name.partition(".")[0]
    if level == 0 and any(os.path.lexists(Path(own.__path__[0], file)) for file in (top, f"{top}.py")):
        return builtins.__import__(name, vars(own), None, names, 1)
    return builtins.__import__(name, variables, local, names, level)


class _Finder:
    """Finds the modules of own code in their folder, and refuses to it what is neither there nor installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, inner = name.partition(".")
        if package in _folders:
            return _specification(name, path[0]) if path else _of_folder(name, _folders[name])
        if not inner and (importer := _importing_own_code()):
            place = place_of_module(name)
            if place is not None and not is_installed(place):
                raise OwnCodeError(
                    f"{importer} imports {name} ({place}), which is neither in the run's folder of code nor installed: "
                    "name it in an import statement of a file beside it, so that a run has a copy"
                )
        return None


def _importing_own_code() -> str:
    """File and line of the import that is being executed if it is one of own code; else ""."""
    frame = sys._getframe(2)
    while frame.f_back and _IMPORTING.match(str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    if str(frame.f_globals.get("__name__")).partition(".")[0] not in _folders:
        return ""
    return f"{Path(frame.f_code.co_filename).name} line {frame.f_lineno}"


def _of_folder(name: str, folder: Path) -> ModuleSpec | None:
    """How to load the package of a folder: by its `__init__.py`, if there is one."""
    file = folder / "__init__.py"
    if os.path.lexists(file):
        _refuse_links(file)
        loader = _Loader(name, str(file))
        return spec_from_file_location(name, file, loader=loader, submodule_search_locations=[str(folder)])
    package = ModuleSpec(name, None, is_package=True)
    package.submodule_search_locations = [str(folder)]
    return package


def _specification(name: str, folder: str) -> ModuleSpec:
    """How to load a module of own code from a folder. Raises ModuleNotFoundError, and OwnCodeError for a link."""
    found = FileFinder(folder, (_Loader, [".py"])).find_spec(name)
    # Python keeps compiled files in `__pycache__`, and no module is there.
    if found is None or name.endswith(".__pycache__"):
        message = f"{name.partition('.')[2]} is not in {folder}: a run has copies of what import statements name"
        raise ModuleNotFoundError(message, name=name)
    _refuse_links(*map(Path, filter(None, [found.origin, *(found.submodule_search_locations or ())])))
    return found


def _refuse_links(*paths: Path) -> None:
    for path in paths:
        if path.is_symlink():
            raise OwnCodeError(f"{path} is a link, which no run makes: remove it, or put the file itself there")


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
    if Path(match["file"]).name != match["file"]:
        raise OwnCodeError(f"{name!r} leads out of {folder}, and a run executes only what is in it")
    path = folder.absolute() / match["file"]
    _refuse_links(path.parent, path)
    found = getattr(_module(path, _package(path.parent)), match["name"], None)
    if not callable(found):
        raise OwnCodeError(f"{path.name} has no class or function called {match['name']}")
    return found  # type: ignore[no-any-return]


def _package(folder: Path) -> str:
    """The name of the package of a folder, which is imported, once in a process as every module of Python."""
    name = f"own_{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    _folders[name] = folder
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    importlib.import_module(name)
    return name


def _module(path: Path, package: str) -> ModuleType:
    """The module of a file in the folder of a package."""
    if path.name == "__init__.py":
        return sys.modules[package]
    module = importlib.import_module(f"{package}.{path.stem}")
    if module.__file__ != str(path):
        raise OwnCodeError(f"{path.name} has the name of a package beside it, which Python prefers: rename one")
    return module


def call_own(name: str, folder: Path, **arguments: Any) -> Any:
    """Call the class or function that `name` refers to and return its result; its exceptions propagate."""
    return load_own(name, folder)(**arguments)


def place_in_own_code(error: BaseException, folder: Path) -> str:
    """Where in the user's own code, in `folder`, an error was raised: `blocks/conv.py line 12`; "" if not there."""
    here = folder.absolute()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(here)]
    return f"{Path(frames[-1].filename).relative_to(here)} line {frames[-1].lineno}" if frames else ""


def is_from_own_code(error: BaseException, folder: Path) -> bool:
    """Whether an error was raised in the user's own code, or while loading or calling it."""
    called = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
    return bool(called or place_in_own_code(error, folder))


def is_from_library(error: BaseException) -> bool:
    """Whether an error was raised while a network of torchvision, timm or SpikingJelly was built or ran."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any(networks in Path(file).as_posix() for file in files for networks in _NETWORKS)
