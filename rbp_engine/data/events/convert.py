"""Decode recordings once, into a cache of frames: `python -m rbp_engine.data.events.convert NAME ROOT CACHE T`.

It writes the manifest as JSON on stdout, or {"problem": message, "files": [message…]} with one for each recording that
cannot be read, and its progress on stderr. Exit code 1: a problem.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.errors import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.errors import DataError
from rbp_engine.vocabulary import FramesBy, Orientation, Resize, SplitName


def _recorded() -> dict[str, RecordedSet]:
    return {name: one for name, one in CATALOG.items() if isinstance(one, RecordedSet)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.data.events.convert", description=__doc__)
    parser.add_argument("name", choices=_recorded(), metavar="NAME", help="the data set")
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that holds it in any layout")
    parser.add_argument("cache", type=Path, metavar="CACHE", help="folder to write the cache into")
    parser.add_argument("timesteps", type=int, metavar="T", help="frames of a recording")
    parser.add_argument("--frames-by", choices=get_args(FramesBy), default="number")
    parser.add_argument("--split", choices=get_args(SplitName), default="last100")
    parser.add_argument("--resize", choices=get_args(Resize), default="exact")
    parser.add_argument("--size", type=int, default=48, help="side of a frame in pixels")
    parser.add_argument("--orientation", choices=get_args(Orientation), default="canonical")
    parser.add_argument("--layout", type=int, choices=(0, 1, 3, 4, 5), default=0, help="0 takes the one that is there")
    return parser


class _Lines:
    """Prints progress to stderr, one line per second and the last one."""

    def __init__(self) -> None:
        self.next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self.next or done == total:
            sys.stderr.write(f"{done}/{total} recordings\n")
            sys.stderr.flush()
            self.next = now + 1.0


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    settings = vars(_parser().parse_args(words))
    data_set, root, cache = _recorded()[settings.pop("name")], settings.pop("root"), settings.pop("cache")
    try:
        done = data_set.convert(root, cache, FrameSettings(**settings), progress=_Lines())
    except (DataError, OSError) as error:
        each = error.problems if isinstance(error, Unreadable) else ()
        sys.stdout.write(json.dumps({"problem": str(error), "files": each}) + "\n")
        return 1
    sys.stdout.write(json.dumps(done.manifest | {"folder": str(done.folder)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
