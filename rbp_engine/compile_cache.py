"""The cache folders of torch.compile. Their contents are executed, so only the user may write to them.

torch's default is a folder in the shared temporary directory, with a name that other users can guess.

Kernels for one kind of CPU lie apart from those for another. torch finds a kernel by what it computes and not by the
vectors it was made for: one for vectors half as long writes beyond the end of its tensors, one for longer vectors
leaves out every other half, or the process ends with an illegal instruction. Hosts may share a home directory.
"""

import contextlib
import functools
import hashlib
import os
import platform
import tempfile
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.owners import make_private, owner_problem, writers_problem


class CompileCacheError(UserError):
    """A folder for compiled kernels cannot be used; the message says which, why, and what to do."""


def own_folder() -> Path:
    """The folder in the user's cache directory for the caches, unless the user has set others."""
    import platformdirs

    return platformdirs.user_cache_path("rbp") / "compiled"


def variables() -> dict[str, str]:
    """The environment variables with the cache folders; those that the user has set take precedence."""
    own = {"TORCHINDUCTOR_CACHE_DIR": f"inductor-{_processor()}", "TRITON_CACHE_DIR": "triton"}
    return {name: _chosen(name) or str(own_folder() / folder) for name, folder in own.items()}


def _chosen(name: str) -> str:
    """What the user has set; torch sets its own default when it compiles something, or only imports what can."""
    folder = os.environ.get(name, "")
    return "" if folder.startswith(str(Path(tempfile.gettempdir()) / "torchinductor_")) else folder


@functools.cache
def _processor() -> str:
    """A short name for the instructions that kernels compiled here may use."""
    told = os.environ.get("ATEN_CPU_CAPABILITY", "")  # lets torch use shorter vectors
    flags = ""
    # Only up to the first core's: the kernel makes the file as it is read, which takes long with hundreds of cores.
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as cores:  # not Linux
        flags = next((line for line in cores if line.startswith(("flags", "Features"))), "").rstrip("\n")
    flags = flags or platform.processor()
    return hashlib.sha256(f"{platform.machine()} {flags} {told}".encode()).hexdigest()[:8]


def prepare() -> None:
    """Set the cache folders for this process and its children, and create missing ones, private to the user.

    Call this before anything is compiled. Raises CompileCacheError if a folder cannot be created or is not the user's.
    """
    for name, folder in variables().items():
        path = Path(folder)
        if path.parent == own_folder():
            _make(path)
        if fault := problem(path):
            raise CompileCacheError(f"{fault}; or set {name} to a folder of your own")
        if path.parent == own_folder():
            for place in (own_folder().parent, own_folder(), path):
                with contextlib.suppress(OSError):  # others may still only read it
                    make_private(place)
        os.environ[name] = folder


def problem(folder: Path) -> str:
    """The reason why code in a folder must not be executed, because another user could write it; "" if none could."""
    own = own_folder()
    chain = [own.parent, own, folder] if folder.parent == own else [folder]
    return next(filter(None, map(_danger, chain)), "")


def _danger(path: Path) -> str:
    why = owner_problem(path) or writers_problem(path)
    return f"torch.compile would execute what lies in {path}, which {why}: remove it" if why else ""


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
