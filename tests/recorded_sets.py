"""Small sets of recordings of event cameras, with the bytes of each layout that people have them in."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rbp_engine.data.sets.cifar import CIFAR10_CLASSES

#: Times in µs, columns, rows and polarities.
Events = tuple[np.ndarray, ...]
#: The label and the events of each recording to train on, and of each to test on.
Parts = tuple[list[tuple[int, Events]], list[tuple[int, Events]]]
EVENTS = 120


def drawn(*seed: int, side: int = 128, start: int = 0, count: int = EVENTS) -> Events:
    """Events of half a second. They are asymmetric on purpose: every wrong orientation gives different frames."""
    draw = np.random.default_rng(seed)
    x, y, p = draw.integers(0, side * 2 // 3, count), draw.integers(side // 3, side, count), draw.integers(0, 2, count)
    return np.sort(draw.integers(0, 500, count)) * 1000 + start, x, y, p


def frames_of(events: Events, timesteps: int, side: int) -> np.ndarray:
    """The counts [T, 2, H, W] of as many events each, the last with the remainder."""
    t, x, y, p = events
    frames = np.zeros((timesteps, 2, side, side), np.int64)
    np.add.at(frames, (np.minimum(np.arange(len(t)) // (len(t) // timesteps), timesteps - 1), p, y, x), 1)
    return frames


def packed(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    """The 40 bits an event of N-MNIST."""
    return np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1).astype(np.uint8).tobytes()


def npz(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, t=t, x=x, y=y, p=p)
    return stream.getvalue()


def npy(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.stack([x, y, p, t / 1000], axis=1))
    return stream.getvalue()


def aedat2(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    """A sensor that lies on its side."""
    words = np.stack([(127 - y) << 1 | (127 - x) << 8 | (1 - p), t], axis=1).astype(">u4")
    return b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n" + words.tobytes()


ENCODED: dict[str, Callable[..., bytes]] = {
    ".aedat": aedat2, ".npz": npz, ".npy": npy, ".bin": packed, ".bs2": packed
}  # fmt: skip


def put(path: Path, events: Events) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ENCODED[path.suffix](*events))


def write_cifar10_dvs(root: Path, layout: str, count: int = EVENTS, numbers: tuple[int, ...] = (0, 900)) -> Parts:
    parts: Parts = ([], [])
    for label, name in enumerate(CIFAR10_CLASSES):
        for number in numbers:
            events = drawn(label, number, count=count)
            put(root / ("events_np" if layout == "npz" else "") / name / f"cifar10_{name}_{number}.{layout}", events)
            parts[number >= 900].append((label, events))
    return parts


def write_nmnist(root: Path, layout: str) -> Parts:
    """Two recordings of each digit."""
    parts: Parts = ([], [])
    names = {"bin": "{}/{}.bin", "extract": "extract/{}/{}.bin", "npz": "events_np/{}/{}.npz"}
    for place, (part, first) in enumerate({"Train": 1, "Test": 60001}.items()):
        for label in range(10):
            for number in (first + label, first + 10 + label):
                events = drawn(label, number, side=34)
                name = names[layout].format(part.lower() if layout == "npz" else part, f"{label}/{number:05}")
                put(root / name, events)
                parts[place].append((label, events))
    return parts


def write_nmnist_small(root: Path, layout: str = "bs2") -> Parts:
    parts: Parts = ([], [])
    for place, (name, first) in enumerate({"train1K.txt": 1, "test100.txt": 60001}.items()):
        lines = ["#sample #class"]
        for number in range(first, first + 20):
            label, events = number * 7 % 10, drawn(number, side=34)
            put(root / f"{number}.{layout}", events)
            lines.append(f"{number}\t{label}")
            parts[place].append((label, events))
        (root / name).write_text("\n".join(lines) + "\n")
    return parts


# DVS128 Gesture

PEOPLE = {"train": ("user01_led", "user02_natural"), "test": ("user24_fluorescent",)}
HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def trial(person: str, label: int) -> Events:
    return drawn(int(person[4:6]), label, start=start(label))


def start(label: int) -> int:
    return 1_000_000 * (label + 1)


def packet(events: bytes, kind: int = 1, size: int = 8, overflows: int = 0, count: int | None = None) -> bytes:
    count = len(events) // size if count is None else count
    return struct.pack("<HHIIIIII", kind, 1, size, 4, overflows, count, count, count) + events


def words(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, valid: int = 1) -> bytes:
    return np.stack([x << 17 | y << 2 | p << 1 | valid, t], axis=1).astype("<u4").tobytes()


def recording(person: str) -> bytes:
    """Trials in packets of 32 events, with packets of other events and events that are invalid in between."""
    content = HEADER
    for label in range(11):
        whole = trial(person, label)
        for place in range(0, EVENTS, 32):
            content += packet(bytes(20), kind=3, size=20)
            content += packet(words(*(values[place : place + 32] for values in whole)))
        content += packet(words(*(values[-1:] for values in whole), valid=0))
        # Between the trials.
        content += packet(words(*(np.array([value]) for value in (start(label) + 700_000, 1, 1, 1))))
    return content


def write_gesture(root: Path, layout: str) -> Parts:
    parts: Parts = ([], [])
    for place, (part, people) in enumerate(PEOPLE.items()):
        parts[place].extend((label, trial(person, label)) for person in people for label in range(11))
        for person in people if layout != "aedat" else ():
            for label in range(11):
                numpy = f"ibmGesture{part.title()}/{person}/{label}.npy"
                name = numpy if layout == "npy" else f"events_np/{part}/{label}/{person}_{label}.npz"
                put(root / name, trial(person, label))
        if layout == "aedat":
            root.mkdir(parents=True, exist_ok=True)
            (root / f"trials_to_{part}.txt").write_text("\n".join(f"{person}.aedat" for person in people) + "\n\n")
            for person in people:
                (root / f"{person}.aedat").write_bytes(recording(person))
                rows = [f"{label + 1},{start(label)},{start(label) + 500_000}" for label in range(11)]
                lines = ["class,startTime_usec,endTime_usec", *rows]
                (root / f"{person}_labels.csv").write_text("\n".join(lines) + "\n")
    return parts
