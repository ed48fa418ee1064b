"""DVS128 Gesture: eleven gestures of 29 people before an event camera, several trials in a recording.

A recording is a file of AEDAT 3.1: an ASCII header, then packets of events in little-endian numbers. Trials are spans
of time in it.
"""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from rbp_engine.data.data_set import is_folder
from rbp_engine.data.events.plan import FrameSettings, Plan, Recording
from rbp_engine.data.events.recorded import RecordedSet, events_of_spikingjelly
from rbp_engine.data.files import open_data, read_data
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import MIB

# Label, what it is in, and span of time in µs if it is in a file of several.
Trial = tuple[int, Path, tuple[int, int] | None]

_FOLDERS: Final = (".", "DvsGesture", "extract/DvsGesture", "DVSGesture")
# By layout, what lies in the folder of the set for each part.
_PARTS: Final = {
    "aedat": ("trials_to_train.txt", "trials_to_test.txt"),
    "npz": ("events_np/train", "events_np/test"),
    "npy": ("ibmGestureTrain", "ibmGestureTest"),
}
_CLASSES: Final = 11
_LARGEST_LIST: Final = MIB // 16
_NAME: Final = re.compile(r"([\w-]+)\.aedat", re.ASCII)
_ROW: Final = re.compile(r"(1[01]|[1-9]),([0-9]{1,15}),([0-9]{1,15})")

# Bytes of a recording, its header and a packet, and how many packets it has: many times those of the largest.
_LARGEST: Final = 1024 * MIB
_MOST_HEADER: Final = MIB // 16
_LARGEST_PACKET: Final = 16 * MIB
_MOST_PACKETS: Final = 2**18
# More than a century.
_MOST_OVERFLOWS: Final = 2**20
_MOST_MILLISECONDS: Final = 2**42
_END_OF_HEADER: Final = b"#!END-HEADER\r\n"
# Of a packet: the type and source of its events, bytes of each, where their time is, how often it ran over, how many
# there is room for, how many there are, how many are valid.
_PACKET: Final = struct.Struct("<HHIIIIII")
_POLARITY: Final = 1
_POLARITY_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Dvs128Gesture(RecordedSet):
    """Trials of 23 people to train on and of 6 to test on, as published, or as tonic or SpikingJelly leave them."""

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        layout, places = self.place(root)
        spans: dict[Path, tuple[int, int]] = {}
        parts: list[list[Recording]] = []
        for place in places:
            trials = list({"aedat": _in_recordings, "npz": _by_class, "npy": _by_person}[layout](place))
            if not trials:
                raise DataError(f"{place} has no trial: unpack, copy or convert it again")
            spans |= {path: span for _, path, span in trials if span is not None}
            parts.append([Recording(label, number, path) for number, (label, path, _) in enumerate(trials)])

        def events(trial: Recording) -> Sequence[Any]:
            if layout == "aedat":
                return read_aedat3(trial.path.parent, *spans[trial.path])
            return events_of_spikingjelly(trial) if layout == "npz" else _read_npy(trial.path)

        trials_of = [one.path for part in parts for one in part]
        files = [path.parent for path in trials_of] if layout == "aedat" else trials_of
        return self.planned(wanted, places[0].parent, layout, parts, events, files=list(dict.fromkeys(files)))


def _in_recordings(index: Path) -> Iterator[Trial]:
    """The trials of the recordings in a list, each as a place in its recording. Raises DataError and OSError."""
    for count, line in _lines(index):
        name = _NAME.fullmatch(line)
        if name is None:
            raise DataError(f"{index} line {count} names no recording, as user01_led.aedat: copy it again")
        labels = index.parent / f"{name[1]}_labels.csv"
        for row, text in _lines(labels):
            match = _ROW.fullmatch(text)
            if match is not None:
                yield int(match[1]) - 1, index.parent / line / f"trial {row - 1}", (int(match[2]), int(match[3]))
            elif row > 1:
                raise DataError(
                    f"{labels} line {row} is not a class of 1 to {_CLASSES} and two times in µs: copy it again"
                )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list that are not empty, with their numbers."""
    for count, line in enumerate(read_data(path, _LARGEST_LIST).decode(errors="replace").splitlines(), 1):
        if line.strip():
            yield count, line.strip()


def _by_class(folder: Path) -> Iterator[Trial]:
    """The trials in a folder with one for each class. Raises DataError and OSError."""
    for label in range(_CLASSES):
        of_class = folder / str(label)
        if not is_folder(of_class):
            raise DataError(f"{of_class}: the folder of a class is missing: copy or convert it again")
        yield from ((label, of_class / name, None) for name in _names(of_class) if name.endswith(".npz"))


def _by_person(folder: Path) -> Iterator[Trial]:
    """The trials in a folder with one for each person and light, named by their class. Raises OSError."""
    for person in _names(folder):
        if is_folder(folder / person):
            there = _names(folder / person)
            named = [(label, f"{label}.npy") for label in range(_CLASSES)]
            yield from ((label, folder / person / name, None) for label, name in named if name in there)


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208  # only names


def read_aedat3(path: Path, start: int, end: int) -> Sequence[Any]:
    """Times (µs), columns, rows and polarities of the events from `start` to before `end`, in a file of AEDAT 3.1.

    Raises DataError for another format and for a truncated file, DataError for what is no file or too large, and
    OSError.
    """
    import numpy as np

    from rbp_engine.data.events.aedat import MOST_EVENTS

    words, times, count = [np.empty(0, np.uint32)], [np.empty(0, np.int64)], 0
    with open_data(path, _LARGEST) as file:
        for content, overflows in _packets(path, file):
            pairs = np.frombuffer(content, "<u4").reshape(-1, 2)
            time = pairs[:, 1].astype(np.int64) + (overflows << 31)
            # The lowest bit says whether an event is valid.
            chosen = (start <= time) & (time < end) & (pairs[:, 0] & 1 == 1)
            words.append(pairs[chosen, 0])
            times.append(time[chosen])
            count += len(words[-1])
            if count > MOST_EVENTS:
                raise DataError(f"{path} has more than {MOST_EVENTS} events in a trial: copy it again")
    data = np.concatenate(words)
    return np.concatenate(times), data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1


def _packets(path: Path, file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The events of each packet of changes in brightness, and how often the time has run over 2^31 µs."""
    head = file.read(_MOST_HEADER)
    if not head.startswith(b"#!AER-DAT3.1\r\n"):
        raise DataError(f"{path} is no AEDAT 3.1: put the original recording in its place")
    end = head.find(_END_OF_HEADER)
    if end < 0:
        raise DataError(f"{path} ends within its header: unpack or copy it again")
    file.seek(end + len(_END_OF_HEADER))
    for _ in range(_MOST_PACKETS):
        header = file.read(_PACKET.size)
        if not header:
            return
        if len(header) < _PACKET.size:
            raise DataError(f"{path} ends within a packet: unpack or copy it again")
        kind, _, size, _, overflows, _, events, _ = _PACKET.unpack(header)
        if size * events > _LARGEST_PACKET or (kind == _POLARITY and size != _POLARITY_BYTES):
            raise DataError(f"{path} has a packet of {events} events of {size} bytes: unpack or copy it again")
        if overflows > _MOST_OVERFLOWS:
            raise DataError(f"{path} has a time of {overflows} · 2^31 µs: unpack or copy it again")
        content = file.read(size * events)
        if len(content) < size * events:
            raise DataError(f"{path} ends within a packet: unpack or copy it again")
        if kind == _POLARITY:
            yield content, overflows
    if file.read(1):
        raise DataError(f"{path} has more than {_MOST_PACKETS} packets: unpack or copy it again")


def _read_npy(path: Path) -> Sequence[Any]:
    """The events of a trial as tonic leaves them: columns, rows, polarities and times in ms, in rows of four."""
    import numpy as np

    from rbp_engine.data.events.aedat import MOST_EVENTS
    from rbp_engine.data.events.archives import damaged, map_array

    try:
        array = map_array(path)
        if array.ndim != 2 or array.shape[1] != 4 or len(array) > MOST_EVENTS:
            raise ValueError(f"it is not four columns of at most {MOST_EVENTS} events")
        columns, rows, polarities, milliseconds = events = np.array(array, np.float64).T
        if not (np.abs(events) < _MOST_MILLISECONDS).all():
            raise ValueError("it holds numbers that are no place and no time")
    except Exception as error:  # a damaged file may raise anything in its reader
        raise damaged(path, error) from error
    return milliseconds * 1000, columns, rows, polarities


DATA_SETS = (
    Dvs128Gesture(
        name="dvs128_gesture",
        paper_name="DVS128 Gesture",
        title="DVS128 Gesture, events",
        classes=_CLASSES,
        class_names=(
            "hand_clapping", "right_hand_wave", "left_hand_wave", "right_arm_clockwise", "right_arm_counter_clockwise",
            "left_arm_clockwise", "left_arm_counter_clockwise", "arm_roll", "air_drums", "air_guitar", "other_gestures",
        ),
        channels=2,
        image_size=(128, 128),
        default_size=128,
        train_size=1176,
        test_size=288,
        any_size=True,
        origin="https://research.ibm.com/interactive/dvsgesture (CC BY 4.0), by hand",
        layout="DvsGesture/ with user*.aedat, *_labels.csv, trials_to_train.txt and trials_to_test.txt, or events_np/, "
        "or ibmGestureTrain/ and ibmGestureTest/",
        by_hand="https://research.ibm.com/interactive/dvsgesture (CC BY 4.0); unpack DvsGesture.tar.gz",
        folder="DvsGesture",
        layouts=tuple(
            (layout, f"{folder}/{train}", f"{folder}/{test}")
            for folder in _FOLDERS
            for layout, (train, test) in _PARTS.items()
        ),
    ),
)  # fmt: skip
