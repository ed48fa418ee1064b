"""AEDAT 2.0: an ASCII header, then big-endian pairs of 32 bits, address and time in µs."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.errors import EventDataError

Integers = npt.NDArray[np.int64]


def read_aedat(path: Path) -> tuple[Integers, Integers, Integers, Integers]:
    """Times (µs), x, y and polarity of all events of a DVS128, each int64 [events].

    Raises EventDataError for another format and for a truncated file.
    """
    content = path.read_bytes()
    if content.startswith((b"#!AER-DAT3", b"#!AER-DAT4", b"#!AEDAT-4")):
        version = content.splitlines()[0].decode("ascii", "replace")
        raise EventDataError(f"{path} is {version}, not AEDAT 2.0: put the original AEDAT 2.0 file in its place")
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        if end < 0:
            raise EventDataError(f"{path} ends within its header: unpack or copy it again")
        start = end + 1
    if start == 0 or (len(content) - start) % 8 or len(content) == start:
        what = "has no AEDAT header" if start == 0 else "is truncated"
        raise EventDataError(f"{path} {what} ({len(content)} bytes): unpack or copy it again")
    words = np.frombuffer(content, dtype=">u4", offset=start).reshape(-1, 2)
    address, time = words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)
    return time, (address & 0xFE) >> 1, (address & 0x7F00) >> 8, 1 - (address & 1)
