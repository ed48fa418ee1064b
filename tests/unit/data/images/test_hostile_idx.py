"""IDX files that say one thing and hold another: each is refused by name, in little time and memory."""

import gzip
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rbp_engine.data.catalog import catalogued

COUNT = 7


def idx(*shape: int, content: bytes | None = None) -> bytes:
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + (bytes(int(np.prod(shape))) if content is None else content)


def bomb() -> bytes:
    """Four gigabytes of zeros behind the header of few, in four megabytes."""
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(idx(COUNT, 28, 28)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + zeros * 4096


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "images of no end.gz": (bomb, "more bytes than the shape (7, 28, 28)"),
    "a shape that wraps to nothing": (lambda: idx(2**31, 2**31, 4, content=b""), "more than 268435456 bytes"),
    "a shape that wraps to nothing, packed.gz": (
        lambda: gzip.compress(idx(2**31, 2**31, 4, content=b"")), "more than 268435456 bytes"
    ),
    "gigabytes that are not there.gz": (
        lambda: gzip.compress(idx(2**16, 2**8, 2**8, content=b"")), "more than 268435456 bytes"
    ),
    "megabytes that are not there.gz": (
        lambda: gzip.compress(idx(2**18, 28, 28, content=b"")), "packed bytes cannot be the shape"
    ),
    "fewer bytes.gz": (lambda: gzip.compress(idx(COUNT, 28, 28)[:-1]), "fewer bytes than the shape"),
    "archives without number.gz": (
        lambda: gzip.compress(idx(COUNT, 28, 28)) + gzip.compress(b"") * 500_000, "goes on after its end"
    ),
    "no beginning.gz": (lambda: gzip.compress(b"") * 500_000, "goes on after its end"),
}  # fmt: skip

# Reads the arrays that it is given with a gigabyte more than it had when it began.
READER = """
import resource, sys
from pathlib import Path
from rbp_engine.data.readers.mnist import read_idx

size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, -1))
for path in sys.argv[1:]:
    try:
        print(read_idx(Path(path), 3).shape)
    except ValueError as error:
        print(error)
"""


def test_a_file_that_says_one_thing_and_holds_another_is_refused_by_name(tmp_path: Path) -> None:
    expected = {}
    for name, (content, reason) in HOSTILE.items():
        (tmp_path / name).write_bytes(content())
        expected[name] = f"{tmp_path / name} is damaged (", reason
    os.mkfifo(tmp_path / "pipe.gz")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with (tmp_path / "endless.gz").open("wb") as file:
        file.truncate(2**40)
    for name, reason in {"pipe.gz": "a named pipe", "zero": "a device", "endless.gz": "larger than 257 MiB"}.items():
        expected[name] = f"{tmp_path / name} cannot be read: ", reason
    words = [sys.executable, "-c", READER, *(str(tmp_path / name) for name in expected)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, len(expected))
    for line, (beginning, reason) in zip(lines, expected.values(), strict=True):
        assert line.startswith(beginning) and reason in line


def lay(folder: Path, **files: bytes) -> Path:
    """MNIST with few images, but for the files that are given: `train_images`, `t10k_labels` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for side in ("train", "t10k"):
        for kind, shape in (("images", (COUNT, 28, 28)), ("labels", (COUNT,))):
            content = files.get(f"{side}_{kind}", idx(*shape))
            (folder / f"{side}-{kind}-idx{len(shape)}-ubyte").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_images": idx(COUNT, 1, 1)}, "train-images-.* is damaged .images of 1 × 1 pixels, expected 28 × 28"),
        ({"t10k_images": idx(COUNT, 28, 27)}, "t10k-images-.* is damaged .images of 28 × 27 pixels"),
        ({"t10k_images": idx(0, 28, 28), "t10k_labels": idx(0)}, "t10k-labels-.* is damaged .0 labels for the 0"),
        ({"train_labels": idx(COUNT, content=b"\xff" * COUNT)}, "train-labels-.* is damaged .the label 255"),
    ],
)
def test_images_and_labels_that_no_network_for_mnist_can_use_are_refused(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    lay(tmp_path)
    assert len(catalogued("mnist").read(tmp_path).train) == COUNT
    with pytest.raises(ValueError, match=message):
        catalogued("mnist").read(lay(tmp_path, **files))
