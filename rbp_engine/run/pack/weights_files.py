"""Whether a file that came with somebody else's run is what its name says: weights, and no pickle in their place.

What loads them executes nothing either (`torch.load(weights_only=True)`, safetensors); a file that would try is refused
all the same, so that no other program finds it in a run.
"""

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Final

from rbp_engine.run.files.layout import CHECKPOINT
from rbp_engine.run.pack.archive import LARGEST_PART, UNUSABLE, opened
from rbp_engine.untrusted_files import open_untrusted

_CHECKPOINT: Final = re.compile(rf"checkpoints/(?:{CHECKPOINT.pattern}|best)/(?P<name>[^/]+)")
_IN_A_CHECKPOINT: Final = re.compile(r"manifest\.json|(?:model|ema)\.safetensors|optimizer\.pt|rng-rank\d{1,5}\.pt")
#: What torch writes for tensors. A pickle calls what it names.
_NAMED: Final = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_\w+|torch \w*Storage|torch \w*(?:float|int)\d+"
)
_NAMING: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})
_LARGEST_HEADER: Final = 100_000_000  # bytes, as in safetensors itself
_PICKLE: Final = "data.pkl"


def weights_problem(name: str, path: Path) -> str:
    """What is wrong with the file `path`, called `name` in its run; empty if nothing is, or if it holds no weights."""
    if name.startswith("checkpoints/"):
        found = _CHECKPOINT.fullmatch(name)
        if found is None or not _IN_A_CHECKPOINT.fullmatch(found["name"]):
            return "is no file of a checkpoint"
    try:
        if name.endswith(".safetensors"):
            return _problem_of_safetensors(path)
        if name.endswith(".pt"):
            return _problem_of_torch(path)
    except (OSError, *UNUSABLE) as error:
        return f"is damaged: {error}"
    return ""


def _problem_of_safetensors(path: Path) -> str:
    with open_untrusted(path) as file:
        begin = file.read(9)
        size = path.stat().st_size
    length = int.from_bytes(begin[:8], "little")
    whole = len(begin) == 9 and begin[8:] == b"{" and 2 <= length <= min(_LARGEST_HEADER, size - 8)
    return "" if whole else "holds no weights, whatever its name says"


def _problem_of_torch(path: Path) -> str:
    with opened(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "is compressed, as torch saves nothing"
        pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == _PICKLE]
        if len(pickles) != 1 or pickles[0].file_size > LARGEST_PART:
            return "holds no tensors, whatever its name says"
        content = archive.read(pickles[0])
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in _NAMING and not (operation.name == "GLOBAL" and _NAMED.fullmatch(str(argument))):
            return "is a pickle that would execute something"
    return ""
