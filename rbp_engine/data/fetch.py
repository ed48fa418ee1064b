"""Download a data set, on request only: `python -m rbp_engine.data.fetch NAME ROOT`, NAME being one with a `download`.

A separate process, because torchvision takes seconds to import. It says progress, or the reason for a failure.
"""

import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from rbp_engine.data.catalog import CATALOG

_PATIENCE: Final = 60.0  # seconds without a byte from the server


class FetchError(Exception):
    """A data set could not be downloaded; the message says why, and what to do."""


def fetch(name: str, root: Path) -> None:
    """Let torchvision download a data set into its folder in `root`.

    Does nothing if it is there. The folder gets its name only when complete, and a failure leaves nothing behind.
    Raises FetchError.
    """
    from torchvision import datasets

    data_set = CATALOG[name]
    folder = Path(data_set.folder).parts[0]
    if data_set.find([root]).found:
        return
    if (root / folder).exists():
        raise FetchError(f"{root / folder} exists and is incomplete: remove it, then fetch again")
    try:
        root.mkdir(parents=True, exist_ok=True)
        # In the root itself, on the same disk, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix=f".fetch-{name}-", dir=root) as temporary:
            getattr(datasets, data_set.download)(temporary, download=True)
            (Path(temporary) / folder).rename(root / folder)
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FetchError(
            f"'{name}' could not be downloaded into {root}: {reason}; try again, or put it there by hand and check it "
            f"with `rbp data check {name}`"
        ) from error


def _interrupted(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main(name: str, root: str) -> int:
    """Fetch a data set; returns 0, or 1 after a failed download."""
    # Exceptions, so that partial files are removed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    socket.setdefaulttimeout(_PATIENCE)
    try:
        fetch(name, Path(root))
    except FetchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
