"""Recordings that declare one thing and hold another: each is one sentence with its name, in little time and memory."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rbp_engine.data.events.aedat import MOST_EVENTS, read_aedat
from rbp_engine.data.events.archives import read_events
from tests.limits import within_limits

EVENTS = {"t": np.arange(9), "x": np.arange(9) * 3, "y": np.arange(9) * 5, "p": np.arange(9) % 2}


# .npz


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **(EVENTS | arrays))
    return stream.getvalue()


def saying(shape: str, descr: str = "'<i8'", content: bytes = bytes(72)) -> bytes:
    """Events of which the times are said to be of this shape and type, whatever there is of them."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return zipped({"t.npy": b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content})


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO(npz())
    with zipfile.ZipFile(stream) as whole:
        members = {name: whole.read(name) for name in whole.namelist()} | members
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def lying(size: int) -> bytes:
    """An archive whose first member is of another size than it says."""
    content = npz(t=np.zeros(100_000, np.int64))
    central = content.index(b"PK\x01\x02")
    return content[: central + 24] + struct.pack("<I", size) + content[central + 28 :]


def many_members(count: int) -> bytes:
    content = npz()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entries = content[start:end] * count
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), start, 0)
    return content[:start] + entries + tail


def bare() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 2, 128, 128)))
    return stream.getvalue()


EVENT_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "10^15 numbers": (lambda: saying(f"({10**15},)"), "says to have 8000000000000128 bytes, and has 200"),
    "10^30 numbers": (lambda: saying(f"({10**30},)"), "says to have 80000"),
    "a shape that wraps to nothing": (lambda: saying(f"({2**32}, {2**32})"), "says to have 147573952589676413056"),
    "a negative shape": (lambda: saying("(-9,)"), "less than none"),
    "ten thousand dimensions": (lambda: saying("(" + "1," * 10_000 + ")"), "truncated or damaged"),
    "a deeply nested header": (lambda: saying("(" * 500 + ")" * 500), "truncated or damaged"),
    "a long chain in the header": (lambda: saying("-" * 1500 + "1"), "truncated or damaged"),
    "digits without end": (lambda: saying("(" + "1" * 1800 + "x)"), "truncated or damaged"),
    "what Python warns of": (lambda: saying("(9, 9()[0], )"), "truncated or damaged"),
    "a text that does not end": (lambda: saying("(9,'''"), "truncated or damaged"),
    "objects": (lambda: saying("(9,)", "'|O'"), "holds no numbers"),
    "records": (lambda: saying("(9,)", "[('a', '|O')]"), "holds no numbers"),
    "arrays in an array": (lambda: saying("(9,)", "('<i8', (1,))"), "holds no numbers"),
    "texts": (lambda: npz(t=np.array(["a"] * 9)), "holds no numbers"),
    "complex numbers": (lambda: npz(t=np.zeros(9, complex)), "holds no numbers"),
    "scalars": (lambda: npz(t=1, x=1, y=1, p=1), "that are not four rows of equal length"),
    "rows of rows": (
        lambda: npz(**{name: np.zeros((3, 3), int) for name in EVENTS}),
        "that are not four rows of equal length",
    ),
    "fewer polarities": (lambda: npz(p=np.zeros(1, int)), "that are not four rows of equal length"),
    "no number": (lambda: npz(p=np.full(9, np.nan)), "not finite"),
    "more events than any": (
        lambda: zipped({f"{name}.npy": bytes_of(np.zeros(MOST_EVENTS + 1, np.uint8)) for name in EVENTS}),
        f"has {MOST_EVENTS + 1} events, more than",
    ),
    "a bare .npy": (bare, "is not a zip file"),
    "a member smaller than it says": (lambda: lying(4_000_000_000), "t.npy is larger than"),
    "a member larger than it says": (lambda: lying(100_000), "Bad CRC-32"),
    "a million members": (lambda: many_members(250_000), "more than 32 members"),
    "another way of packing": (lambda: zipped({}, zipfile.ZIP_LZMA), "packed in another way"),
    "no times": (lambda: npz().replace(b"t.npy", b"T.npy"), "no item named 't.npy'"),
    "nothing": (lambda: b"", "is not a zip file"),
}


def bytes_of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# .aedat

AEDAT_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "comments without end": (lambda: b"#\n" * 10_000_000, "ends within its header"),
    "a version in many lines": (lambda: b"#!AER-DAT3.1\n" + b"\n" * 30_000_000, "is #!AER-DAT3.1, not AEDAT 2.0"),
    "escapes in the version": (lambda: b"#!AER-DAT4\x1b[2J\n", "is #!AER-DAT4, not AEDAT 2.0"),
    "more events than any": (lambda: b"#!AER-DAT2.0\n" + bytes(8 * MOST_EVENTS + 2**17), "larger than"),
}

KINDS = {"events": EVENT_FILES, "aedat": AEDAT_FILES}


def refusal(recording: tuple[Any, Path]) -> str:
    kind, path = recording
    with pytest.raises(ValueError) as refused:
        (read_aedat if kind == "aedat" else read_events)(path)
    return str(refused.value)


def test_each_is_one_sentence_with_its_name_in_little_time_and_memory(tmp_path):
    expected: dict[tuple[str, Path], tuple[str, str]] = {}
    for kind, files in KINDS.items():
        (tmp_path / kind).mkdir()
        for name, (content, reason) in files.items():
            path = tmp_path / kind / name
            path.write_bytes(content())
            expected[kind, path] = f"{path} ", reason
        os.mkfifo(tmp_path / kind / "pipe")
        (tmp_path / kind / "zero").symlink_to("/dev/zero")
        with (tmp_path / kind / "endless").open("wb") as file:
            file.truncate(2**40)
        for name, reason in {"pipe": "a named pipe", "zero": "a device", "endless": "larger than"}.items():
            path = tmp_path / kind / name
            expected[kind, path] = f"{path} cannot be read: ", reason
    lines = within_limits(refusal, expected)
    for line, (beginning, reason) in zip(lines, expected.values(), strict=True):
        assert line.startswith(beginning) and reason in line
        assert len(line) < len(beginning) + 300


def test_what_is_whole_is_read_however_it_was_written(tmp_path):
    file = tmp_path / "file"
    for content in (npz(), zipped({}), zipped({}, zipfile.ZIP_STORED), npz(t=EVENTS["t"].astype(">u4"))):
        file.write_bytes(content)
        assert all(np.array_equal(*pair) for pair in zip(read_events(file), EVENTS.values(), strict=True))
    stream = io.BytesIO()
    np.savez_compressed(stream, **EVENTS | {"p": EVENTS["p"] == 1})
    file.write_bytes(stream.getvalue())
    assert np.array_equal(read_events(file)[3], EVENTS["p"])
