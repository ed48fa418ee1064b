"""N-MNIST: MNIST's digits before a moving event camera; and 1100 of its recordings, which slayerPytorch carries.

A recording is a file of 40 bits an event: column, row, polarity in the highest bit, and 23 bits of time in µs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rbp_engine.data.events.plan import FrameSettings, Plan, Recording, numbered
from rbp_engine.data.events.recorded import RecordedSet, events_of_spikingjelly
from rbp_engine.data.files import read_data
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import MIB

# Bytes of a recording: more than a hundred times as many as the largest has.
_LARGEST: Final = 5 * MIB
# An event in this row is none: from it on, 2^13 µs are added to the time.
_OVERFLOW_ROW: Final = 240
_OVERFLOW_US: Final = 2**13
# A line of slayerPytorch's lists: a recording and its digit.
_LARGEST_INDEX: Final = MIB
_LINE: Final = re.compile(r"([0-9]{1,9})\s+([0-9])")


def _decoded(path: Path, content: bytes) -> Sequence[Any]:
    """Times (µs), columns, rows and polarities of the events in a file. Raises DataError for a truncated one."""
    import numpy as np

    if not content or len(content) % 5:
        raise DataError(f"{path} is truncated ({len(content)} bytes, 5 for each event): unpack or copy it again")
    columns, rows, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64).T
    overflow = rows == _OVERFLOW_ROW
    times = ((high & 0x7F) << 16 | middle << 8 | low) + _OVERFLOW_US * np.cumsum(overflow)
    return [values[~overflow] for values in (times, columns, rows, high >> 7)]


@dataclass(frozen=True, kw_only=True)
class NMnist(RecordedSet):
    """60 000 training and 10 000 test recordings, as published, or as tonic or SpikingJelly leave them."""

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        layout, folders = self.place(root)
        pattern = re.compile(rf"([0-9]{{1,9}})\.{layout}")
        parts = [
            [one for label in range(10) for one in numbered(label, folder / str(label), pattern)] for folder in folders
        ]
        gaps = [
            f"{folder} has {len(part)} recordings, not {expected}"
            for folder, part, expected in zip(folders, parts, (self.train_size, self.test_size), strict=True)
            if len(part) != expected
        ]
        events = _events if layout == "bin" else events_of_spikingjelly
        return self.planned(wanted, root, layout, parts, events, gaps=gaps)


@dataclass(frozen=True, kw_only=True)
class NMnistSmall(RecordedSet):
    """1000 training and 100 test recordings in one folder, with a list of each part."""

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        layout, lists = self.place(root)
        parts = [_listed(one) for one in lists]
        files = [*lists, *(one.path for part in parts for one in part)]
        return self.planned(wanted, root, layout, parts, _events, files=files)


def _listed(index: Path) -> list[Recording]:
    """The recordings in a list, which lie beside it. Raises DataError and OSError."""
    found: dict[int, int] = {}
    for count, line in enumerate(read_data(index, _LARGEST_INDEX).decode(errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if match is not None and int(match[1]) not in found:
            found[int(match[1])] = int(match[2])
        elif line.strip() and not line.startswith("#"):
            raise DataError(f"{index} line {count} is not a recording and its digit, once: copy it again")
    if not found:
        raise DataError(f"{index} lists no recording: copy it again")
    return [Recording(label, number, index.parent / f"{number}.bs2") for number, label in found.items()]


def _events(recording: Recording) -> Sequence[Any]:
    return _decoded(recording.path, read_data(recording.path, _LARGEST))


DATA_SETS = (
    NMnist(
        name="nmnist",
        paper_name="N-MNIST",
        title="N-MNIST, events",
        classes=10,
        class_names=tuple("0123456789"),
        channels=2,
        image_size=(34, 34),
        default_size=34,
        train_size=60_000,
        test_size=10_000,
        origin="https://www.garrickorchard.com/datasets/n-mnist (CC BY-SA 4.0), by hand",
        layout="Train/ and Test/ with DIGIT/NUMBER.bin, also in extract/, or events_np/",
        by_hand="https://www.garrickorchard.com/datasets/n-mnist (CC BY-SA 4.0); unpack Train.zip and Test.zip into "
        "one folder",
        folder="NMNIST",
        layouts=(
            ("bin", "Train", "Test"),
            ("bin", "extract/Train", "extract/Test"),
            ("npz", "events_np/train", "events_np/test"),
        ),
    ),
    NMnistSmall(
        name="nmnist_small",
        paper_name="N-MNIST-1k",
        title="1000 recordings of N-MNIST, events",
        classes=10,
        class_names=tuple("0123456789"),
        channels=2,
        image_size=(34, 34),
        default_size=34,
        train_size=1000,
        test_size=100,
        origin="https://github.com/bamsumit/slayerPytorch (N-MNIST is CC BY-SA 4.0), by hand",
        layout="train1K.txt and test100.txt with the recordings that they name, NUMBER.bs2",
        by_hand="https://github.com/bamsumit/slayerPytorch (N-MNIST is CC BY-SA 4.0); unpack its NMNISTsmall.zip",
        folder="NMNISTsmall",
        layouts=(("bs2", "train1K.txt", "test100.txt"),),
    ),
)
