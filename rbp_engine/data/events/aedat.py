"""AEDAT 2.0: an ASCII header, then big-endian pairs of 32 bits, address and time in µs."""

import re
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.files import read_data
from rbp_engine.errors import DataError

Integers = npt.NDArray[np.int64]

#: The most events of a recording: twenty times as many as one of CIFAR10-DVS has on average.
MOST_EVENTS: Final = 2**22
_MOST_HEADER: Final = 2**16
_LARGEST: Final = _MOST_HEADER + 8 * MOST_EVENTS
_OTHER_VERSION: Final = re.compile(rb"#!(?:AER-DAT[34]|AEDAT-4)[\w.]*")


def read_aedat(path: Path) -> tuple[Integers, Integers, Integers, Integers]:
    """Times (µs), x, y and polarity of all events of a DVS128, each int64 [events].

    Raises DataError for another format and for a truncated file, DataError for what is no file or too large.
    """
    content = read_data(path, _LARGEST)
    start = _first_event(path, content)
    words = np.frombuffer(content, dtype=">u4", offset=start).reshape(-1, 2)
    address, time = words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)
    return time, (address & 0xFE) >> 1, (address & 0x7F00) >> 8, 1 - (address & 1)


def _first_event(path: Path, content: bytes) -> int:
    """Where the events begin in a file."""
    head, size = content[:_MOST_HEADER], len(content)
    if version := _OTHER_VERSION.match(head):
        raise DataError(
            f"{path} is {version[0][:40].decode()}, not AEDAT 2.0: put the original AEDAT 2.0 file in its place"
        )
    start = 0
    while head[start : start + 1] == b"#":
        end = head.find(b"\n", start)
        if end < 0 or end + 1 >= _MOST_HEADER:
            raise DataError(f"{path} ends within its header: unpack or copy it again")
        start = end + 1
    if start == 0 or (size - start) % 8 or size == start:
        what = "has no AEDAT header" if start == 0 else "is truncated"
        raise DataError(f"{path} {what} ({size} bytes): unpack or copy it again")
    return start
