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
from typing import Final

# The class in torchvision.datasets and the folder that it creates.
DOWNLOADS: Final = {
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
    "mnist": ("MNIST", "MNIST"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST"),
}
BY_HAND: Final = {
    "imagenet": "https://image-net.org/download.php (ILSVRC2012, after registration); unpack it into "
    "train/<class>/ and val/<class>/ as https://github.com/pytorch/examples/tree/main/imagenet shows",
    "cifar10_dvs": "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671; unpack the ten archives "
    "into one folder",
}
_PATIENCE: Final = 60.0  # seconds without a byte from the server


class FetchError(Exception):
    """A data set could not be downloaded; the message says why, and what to do."""


class NotFetchable(FetchError):
    """A data set must be fetched by hand, or does not exist."""


def fetch(name: str, root: Path) -> Path:
    """Download data set `name` into `root` and return its folder there; does nothing if the folder exists.

    The folder gets its name only when complete, and a failure leaves nothing behind. Raises `FetchError`.
    """
    if name in BY_HAND:
        raise NotFetchable(
            f"'{name}' cannot be downloaded from here: get it from {BY_HAND[name]}, then `rbp data add {name} DIR`"
        )
    if name not in DOWNLOADS:
        raise NotFetchable(f"'{name}' cannot be downloaded: one of {', '.join([*DOWNLOADS, *BY_HAND])}")
    folder = DOWNLOADS[name][1]
    target = root / folder
    if target.exists():
        if _complete(name, root):
            return target
        raise FetchError(f"{target} exists and is incomplete or damaged: remove it, then fetch again")
    try:
        root.mkdir(parents=True, exist_ok=True)
        # In the root itself, on the same disk, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix=f".fetch-{name}-", dir=root) as temporary:
            _download(name, Path(temporary))
            _rename(Path(temporary) / folder, target)
    except OSError as error:
        raise FetchError(f"'{name}' could not be downloaded into {root}: {_reason(error)}") from error
    except RuntimeError as error:
        raise FetchError(
            f"'{name}' could not be downloaded: {_reason(error)}; try again, or put it into {root} by hand and "
            f"check it with `rbp data check {name}`"
        ) from error
    return target


def _download(name: str, folder: Path) -> None:
    from torchvision import datasets

    getattr(datasets, DOWNLOADS[name][0])(str(folder), download=True)


def _complete(name: str, root: Path) -> bool:
    from torchvision import datasets

    try:
        getattr(datasets, DOWNLOADS[name][0])(str(root), download=False)
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
