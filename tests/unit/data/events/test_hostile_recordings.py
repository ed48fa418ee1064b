"""Recordings that declare one thing and hold another: each is one sentence with its name, in little time and memory."""

import codecs
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rbp_engine.data.events.aedat import MOST_EVENTS
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.readers.cifar10_dvs.decode import decode
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout

T = 2
FRAMES = np.arange(T * 2 * 128 * 128).reshape(T, 2, 128, 128) % 7
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
    np.save(stream, FRAMES)
    return stream.getvalue()


EVENT_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "10^15 numbers": (lambda: saying(f"({10**15},)"), "shape [1000000000000000] in"),
    "10^30 numbers": (lambda: saying(f"({10**30},)"), "shape [10000"),
    "a shape that wraps to nothing": (lambda: saying(f"({2**32}, {2**32})"), "shape [4294967296"),
    "a negative shape": (lambda: saying("(-9,)"), "shape [-9]"),
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
    "scalars": (lambda: npz(t=1, x=1, y=1, p=1), "not four rows of equal length"),
    "rows of rows": (lambda: npz(**{name: np.zeros((3, 3), int) for name in EVENTS}), "not four rows of equal length"),
    "fewer polarities": (lambda: npz(p=np.zeros(1, int)), "not four rows of equal length"),
    "no number": (lambda: npz(p=np.full(9, np.nan)), "not finite"),
    "more events than any": (
        lambda: zipped({f"{name}.npy": bytes_of(np.zeros(MOST_EVENTS + 1, np.uint8)) for name in EVENTS}),
        f"has {MOST_EVENTS + 1} events, more than",
    ),
    "a bare .npy": (bare, "is not a zip file"),
    "a member smaller than it says": (lambda: lying(4_000_000_000), "larger than 160 MiB"),
    "a member larger than it says": (lambda: lying(100_000), "in 100000 bytes"),
    "a million members": (lambda: many_members(250_000), "more than 32 members"),
    "another way of packing": (lambda: zipped({}, zipfile.ZIP_LZMA), "packed in another way"),
    "no times": (lambda: npz().replace(b"t.npy", b"T.npy"), "holds no array 't.npy', expected t, x, y, p"),
    "nothing": (lambda: b"", "is not a zip file"),
}


def bytes_of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# .pt


class Storage:
    """Stands for the numbers in the file `data/KEY` of a torch file, `count` of them."""

    def __init__(self, key: str = "0", count: Any = FRAMES.size) -> None:
        self.key, self.count = key, count


class Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return ("storage", torch.FloatStorage, value.key, "cpu", value.count) if isinstance(value, Storage) else None


class Called:
    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def tensor(storage: Storage, shape: Any, strides: Any, offset: Any = 0) -> Called:
    return Called(torch._utils._rebuild_tensor_v2, (storage, offset, shape, strides, False, OrderedDict()))


SHAPE, STRIDES = FRAMES.shape, (2 * 128 * 128, 128 * 128, 128, 1)
LABEL = tensor(Storage("1", 1), (1,), (1,))


def torch_file(content: Any, method: int = zipfile.ZIP_STORED, **files: bytes) -> bytes:
    inside = io.BytesIO()
    Pickler(inside, 2).dump(content)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a/data.pkl", files.get("pickled", inside.getvalue()))
        archive.writestr("a/data/0", files.get("numbers", FRAMES.astype("<f4").tobytes()))
        archive.writestr("a/data/1", struct.pack("<f", 3))
        if "byteorder" in files:
            archive.writestr("a/byteorder", files["byteorder"])
    return stream.getvalue()


def frames(shape: Any = SHAPE, strides: Any = STRIDES, offset: Any = 0, count: Any = FRAMES.size) -> bytes:
    return torch_file([tensor(Storage("0", count), shape, strides, offset), LABEL])


def label(shape: Any, strides: Any) -> bytes:
    return torch_file([tensor(Storage(), SHAPE, STRIDES), tensor(Storage("1", 1), shape, strides)])


def endless_key() -> bytes:
    pair: Any = ()
    for _ in range(60):
        pair = (pair, pair)
    return b"\x80\2}" + pickle.dumps(pair, 2)[2:-1] + b"Ns."


def legacy() -> bytes:
    stream = io.BytesIO()
    torch.save([torch.zeros(1), torch.zeros(1)], stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


TENSOR_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "10^15 numbers": (lambda: frames((10**15,), (1,)), "shape [1000000000000000] in"),
    "10^15 times one number": (lambda: frames((10**15,), (0,)), "shape [1000000000000000] in"),
    "nothing of 10^30": (lambda: frames((0, 10**30), (1, 1)), "is damaged or not"),
    "a negative shape": (lambda: frames((-1, 2, 128, 128)), "shape [-1"),
    "a negative step": (lambda: frames(strides=(-1, 1, 1, 1)), "shape [2"),
    "before its numbers": (lambda: frames(offset=-1), "shape [2"),
    "beyond its numbers": (lambda: frames(offset=1), "in 65536 numbers"),
    "other steps beyond its numbers": (lambda: frames(strides=(2 * 128 * 128, 128 * 128, 129, 1)), "in 65536 numbers"),
    "more numbers than bytes": (lambda: frames(count=10**6), "has 262144 bytes, not 4000000"),
    "gigabytes of numbers": (lambda: frames(count=10**10), "says to be of the shape"),
    "a count of no end": (lambda: frames(count=10**600), "says to be of the shape"),
    "no shape": (lambda: frames(shape=[[]]), "has no shape"),
    "a label of 10^16 numbers": (lambda: label((10**8, 10**8), (0, 0)), "shape [100000000, 100000000]"),
    "other timesteps": (lambda: frames((1, 2, 128, 128)), "holds frames of the shape [1, 2, 128, 128], expected [2,"),
    "three tensors": (lambda: torch_file([LABEL] * 3), "does not hold 2 tensors"),
    "no tensors": (lambda: torch_file([1, 2]), "does not hold tensors alone"),
    "bytes by a slow codec": (
        lambda: torch_file([Called(codecs.encode, ("ä" * 10**5, "punycode")), LABEL]), "refers to _codecs.encode"
    ),
    "code": (lambda: torch_file([Called(os.mkdir, ("boom",)), LABEL]), "refers to posix.mkdir"),
    "a key that takes for ever to hash": (lambda: torch_file(0, pickled=endless_key()), "neither text nor bytes"),
    "gigabytes, packed": (
        lambda: torch_file([tensor(Storage("0", 2**26), SHAPE, STRIDES), LABEL], zipfile.ZIP_DEFLATED),
        "says to be of the shape",
    ),
    "the other byte order": (
        lambda: torch_file([tensor(Storage(), SHAPE, STRIDES), LABEL], byteorder=b"big"), "little-endian"
    ),
    "from before torch 1.6": (legacy, "is not a zip file"),
    "an .npz": (npz, "not written by torch.save of torch 1.6 or later"),
}  # fmt: skip


# .aedat

AEDAT_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "comments without end": (lambda: b"#\n" * 10_000_000, "ends within its header"),
    "a version in many lines": (lambda: b"#!AER-DAT3.1\n" + b"\n" * 30_000_000, "is #!AER-DAT3.1, not AEDAT 2.0"),
    "escapes in the version": (lambda: b"#!AER-DAT4\x1b[2J\n", "is #!AER-DAT4, not AEDAT 2.0"),
    "more events than any": (lambda: b"#!AER-DAT2.0\n" + bytes(8 * MOST_EVENTS + 2**17), "larger than"),
}

KINDS = {"events": (3, EVENT_FILES), "tensors": (4, TENSOR_FILES), "aedat": (1, AEDAT_FILES)}

# Decodes the files "KIND LAYOUT PATH" that it is given with half a gigabyte more than it had when it began.
READER = """
import resource, sys
from pathlib import Path
from rbp_engine.data.readers.cifar10_dvs.decode import decode
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout

size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, -1))
for line in sys.argv[1:]:
    kind, layout, path = line.split(" ", 2)
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 5, -1))
    try:
        print(decode(FoundLayout(int(layout), kind, Path()), Path(path), timesteps=2, frames_by="number")[0].shape)
    except ValueError as error:
        print(error)
"""


def test_each_is_one_sentence_with_its_name_in_little_time_and_memory(tmp_path: Path) -> None:
    expected: dict[str, tuple[str, str]] = {}
    for kind, (layout, files) in KINDS.items():
        (tmp_path / kind).mkdir()
        for name, (content, reason) in files.items():
            path = tmp_path / kind / name
            path.write_bytes(content())
            expected[f"{kind} {layout} {path}"] = f"{path} ", reason
        os.mkfifo(tmp_path / kind / "pipe")
        (tmp_path / kind / "zero").symlink_to("/dev/zero")
        with (tmp_path / kind / "endless").open("wb") as file:
            file.truncate(2**40)
        for name, reason in {"pipe": "a named pipe", "zero": "a device", "endless": "larger than"}.items():
            path = tmp_path / kind / name
            expected[f"{kind} {layout} {path}"] = f"{path} cannot be read: ", reason
    done = subprocess.run([sys.executable, "-c", READER, *expected], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, len(lines)) == (0, "", len(expected))
    for line, (beginning, reason) in zip(lines, expected.values(), strict=True):
        assert line.startswith(beginning) and reason in line
        assert len(line) < len(beginning) + 300


def decoded(tmp_path: Path, content: bytes, kind: Any, layout: int) -> Any:
    (tmp_path / "file").write_bytes(content)
    return decode(FoundLayout(layout, kind, tmp_path), tmp_path / "file", timesteps=T, frames_by="number")


def test_what_is_whole_is_read_however_it_was_written(tmp_path: Path) -> None:
    expected = decoded(tmp_path, npz(), "events", 3)[0]
    assert expected.sum() == 9
    for content in (zipped({}), zipped({}, zipfile.ZIP_STORED), npz(t=EVENTS["t"].astype(">u4"), p=EVENTS["p"] == 1)):
        assert np.array_equal(decoded(tmp_path, content, "events", 3)[0], expected)
    stream = io.BytesIO()
    np.savez_compressed(stream, frames=np.asfortranarray(FRAMES.astype(np.float16)))
    assert np.array_equal(decoded(tmp_path, stream.getvalue(), "frames", 3)[0], FRAMES)


def test_tensors_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    whole = torch.from_numpy(FRAMES)
    turned = whole.float().transpose(2, 3)
    for content in (whole.float(), whole.double(), whole.half(), whole.long(), whole.to(torch.uint8), turned,
                    torch.stack([whole[0] * 0, *whole])[1:], turned[:, :, :1].expand(T, 2, 128, 128)):  # fmt: skip
        for number in (torch.Tensor([3]), torch.tensor(3), torch.zeros(9)):
            stream = io.BytesIO()
            torch.save([content, number], stream)
            read, told = decoded(tmp_path, stream.getvalue(), "tensors", 4)
            assert np.array_equal(read, content.numpy()) and read.dtype == content.numpy().dtype
            assert np.array_equal(told, number.reshape(-1).numpy())
    assert np.array_equal(decoded(tmp_path, frames(), "tensors", 4)[0], FRAMES)


def test_the_shape_of_frames_is_looked_at_before_their_numbers(tmp_path: Path) -> None:
    for shape, message in ((3, 2, 128, 128), r"holds frames of the shape \[3, 2, 128, 128\], expected \[2,"), (
        FRAMES.shape, "is truncated or damaged .Bad CRC-32",
    ):  # fmt: skip
        stream = io.BytesIO()
        np.savez(stream, frames=np.zeros(shape))
        content = bytearray(stream.getvalue())
        content[5000] = 1
        with pytest.raises(EventDataError, match=message):
            decoded(tmp_path, bytes(content), "frames", 3)
