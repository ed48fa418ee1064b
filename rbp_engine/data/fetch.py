"""Download a data set, on request only: `python -m rbp_engine.data.fetch NAME ROOT`.

A separate process, because torchvision takes seconds to import. It prints {"name", "path"} on stdout as one line of
JSON, and progress or the reason for a failure on stderr.
"""

import contextlib
import json
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.data_set import FetchError, NotFetchable

_PATIENCE: Final = 60.0  # seconds without a byte from the server


def fetch(name: str, root: Path) -> Path:
    """Download data set `name` into `root` and return its folder there, see `DataSet.fetch`. Raises `FetchError`."""
    fetched = [one.name for one in CATALOG.values() if one.download or one.by_hand]
    if name not in fetched:
        remedy = CATALOG[name].find().remedy if name in CATALOG else ""
        raise NotFetchable(f"'{name}' cannot be downloaded: {remedy or 'one of ' + ', '.join(fetched)}")
    return CATALOG[name].fetch(root)


def download(name: str, class_name: str, folder: str, root: Path) -> Path:
    """Let the class of this name in torchvision download a data set into `folder` of `root`, which is returned.

    Does nothing if the folder exists. It gets its name only when complete, and a failure leaves nothing behind. Raises
    `FetchError`.
    """
    from torchvision import datasets

    images, target = getattr(datasets, class_name), root / folder
    if target.exists():
        if _is_complete(images, root):
            return target
        raise FetchError(f"{target} exists and is incomplete or damaged: remove it, then fetch again")
    try:
        root.mkdir(parents=True, exist_ok=True)
        # In the root itself, on the same disk, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix=f".fetch-{name}-", dir=root) as temporary:
            images(temporary, download=True)
            _rename(Path(temporary) / folder, target)
    except OSError as error:
        raise FetchError(f"'{name}' could not be downloaded into {root}: {_reason(error)}") from error
    except RuntimeError as error:
        raise FetchError(
            f"'{name}' could not be downloaded: {_reason(error)}; try again, or put it into {root} by hand and "
            f"check it with `rbp data check {name}`"
        ) from error
    return target


def _is_complete(images: Any, root: Path) -> bool:
    try:
        images(str(root), download=False)
    except Exception:  # A damaged file may raise anything in its reader.
        return False
    return True


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Another process may have been faster: its folder has the final name, so it is complete.
        if not target.is_dir():
            raise


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _interrupted(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Fetch `NAME` into `ROOT`. Returns 0, 1 after a failed download, 2 for wrong arguments or a set to get by hand."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m rbp_engine.data.fetch NAME ROOT\n")
        return 2
    # Turn SIGTERM into an exception, so that partial files are removed.
    signal.signal(signal.SIGTERM, _interrupted)
    socket.setdefaulttimeout(_PATIENCE)
    name, root = arguments[0], Path(arguments[1]).absolute()
    try:
        # torchvision prints, but stdout is for the result.
        with contextlib.redirect_stdout(sys.stderr):
            path = fetch(name, root)
    except FetchError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, NotFetchable) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write(json.dumps({"name": name, "path": str(path)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
