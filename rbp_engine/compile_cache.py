"""Where torch.compile keeps what it has compiled. It executes what lies there, so the folder is the user's alone.

Torch's own choice is a folder in the shared temporary directory under a name that anybody can guess.
"""

import os
import stat
from pathlib import Path
from typing import Final

from rbp_engine.errors import UserError

_FOLDERS: Final = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


class CompileCacheError(UserError):
    """The folder for compiled kernels cannot be used; the message says which, why, and what to do."""


def own_folder() -> Path:
    """The folder below the user's cache directory that holds the caches, where the user has not chosen others."""
    import platformdirs

    return platformdirs.user_cache_path("rbp") / "compiled"


def variables() -> dict[str, str]:
    """The environment variables that name the caches, the user's own choice first."""
    return {name: os.environ.get(name) or str(own_folder() / folder) for name, folder in _FOLDERS.items()}


def prepare() -> None:
    """Name the caches to this process and those that it starts, and make those that are not there, for the user alone.

    To be called before anything is compiled. Raises CompileCacheError where a folder cannot be made or is somebody
    else's.
    """
    for name, folder in variables().items():
        path = Path(folder)
        if path.parent == own_folder():
            _make(path)
        if told := problem(path):
            raise CompileCacheError(f"{told}; or set {name} to a folder of your own")
        os.environ[name] = folder


def problem(folder: Path) -> str:
    """Why code from there must not be executed: somebody else may put it there. "" where nobody can."""
    own = own_folder()
    chain = [own.parent, own, folder] if folder.parent == own else [folder]
    return next(filter(None, map(_danger, chain)), "")


def _danger(path: Path) -> str:
    if not os.path.lexists(path):
        return ""
    found = [path.lstat()]  # a link may be somebody else's though what it leads to is not
    if path.exists():
        found.append(path.stat())
    others = [status.st_uid for status in found if status.st_uid != os.geteuid()]
    if others:
        why = f"which belongs to {_name(others[0])}"
    elif len(found) == 2 and found[1].st_mode & stat.S_IWOTH:
        why = "where everybody may write"
    else:
        return ""
    return f"torch.compile would execute what lies in {path}, {why}: remove it"


def _make(folder: Path) -> None:
    try:
        for path in (folder.parent, folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CompileCacheError(
            f"{error.filename or folder} cannot be made for what torch.compile compiles ({error.strerror}): set "
            "XDG_CACHE_HOME to a folder of your own"
        ) from error


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
