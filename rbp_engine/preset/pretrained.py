"""The file with the weights that a network starts from: where it is, and the hash of its contents.

The hash is part of the experiment and the path is not: moving the file changes nothing, and another file of the same
name is another experiment.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rbp_engine.preset.layers import Layers, Origin
from rbp_engine.preset.validate import place
from rbp_engine.settings.problems import PresetError
from rbp_engine.untrusted_files import described, open_untrusted

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

# Larger than the weights of any network; to hash a larger file, which is no weights, would take minutes of silence.
_LIMIT: Final = 64 * 1024**3
FILE: Final = "model.safetensors"
#: The field that names a teacher, and a run's copy of its weights.
TEACHER: Final = "loss.distill"
TEACHER_FILE: Final = "teacher.safetensors"
#: Where a folder has weights: a checkpoint, and a run. A run killed while it replaced `best` may only have `best.old`.
_WITHIN: Final = (FILE, f"checkpoints/best/{FILE}", f"checkpoints/best.old/{FILE}")


def is_path_of_weights(name: str) -> bool:
    """Whether a teacher is named by a path to a run or to weights, and not by the id or name of a run."""
    return "/" in name or name.endswith((".safetensors", ".pth", ".pt"))


def weights_file(path: Path) -> Path:
    """The file of weights that a path leads to: itself, or that of a checkpoint's or a run's folder."""
    if not path.is_dir():
        return path
    return next((path / inner for inner in _WITHIN if (path / inner).is_file()), path / _WITHIN[1])


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


def with_weights(preset: "Preset", layers: Layers, source: str) -> "Preset":
    """The preset with the absolute path of its file of weights, and with the file's hash.

    The path is relative to the file that has the field; in an override, to the working directory. Raises PresetError
    where the file cannot be read, or is another one than the preset or the run to repeat says.
    """
    model, path = preset.model, ("model", "pretrained")
    if not model.pretrained:
        return _changed(preset, "", "")
    origin = layers.origin(path) or Origin()
    folder = Path(origin.file).parent if origin.file else Path()
    file = weights_file(folder / os.path.expanduser(model.pretrained)).absolute()  # noqa: PTH111  # as in own_code.py
    hashed = layers.origin(("model", "pretrained_sha256"))
    expected = "" if origin.word and not (hashed and hashed.word) else model.pretrained_sha256
    try:
        found = digest_of(file)
        problem = "" if expected in ("", found) else f"{file} has other contents than the weights of this experiment"
    except OSError as error:
        problem = f"cannot read the weights: {described(error)}"
    if problem:
        raise PresetError(source, [place(layers, source, path, problem)])
    return _changed(preset, str(file), found)


def _changed(preset: "Preset", path: str, sha256: str) -> "Preset":
    model = preset.model.model_copy(update={"pretrained": path, "pretrained_sha256": sha256})
    return preset.model_copy(update={"model": model})


@lru_cache(maxsize=16)
def _digest(path: Path, size: int, modified: int) -> str:
    """The hash of a file of this size and age; forms ask for it with each key that is pressed."""
    with open_untrusted(path, limit=_LIMIT) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
