"""Image files that ask for more than an image needs: each is refused by name before memory is taken."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rbp_engine.data.readers.image_files import read_image
from rbp_engine.data.readers.image_folders import check_image_folders, list_image_folders
from rbp_engine.data.readers.image_headers import MOST_PIXELS, check_image
from tests.limits import within_limits


def encoded(kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: bool) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, format=kind, **options)
    return stream.getvalue()


def jpeg(width: int, height: int, before: bytes = b"", **options: bool) -> bytes:
    """A JPEG image of a few hundred bytes that says it has another size, with `before` in front of what says so."""
    content = encoded(**options)
    place = content.index(b"\xff\xc2" if options else b"\xff\xc0")
    return (
        content[:place] + before + content[place : place + 5] + struct.pack(">HH", height, width) + content[place + 9 :]
    )


def png(width: int, height: int, before: bytes = b"") -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = encoded("PNG")
    return content[:8] + before + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def many_scans(count: int) -> bytes:
    content = encoded(progressive=True)
    place = content.rindex(b"\xff\xda")
    return content[:place] + content[place:-2] * count + content[-2:]


NONE = "neither a JPEG nor a PNG image, or damaged"
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a large JPEG": (lambda: jpeg(65500, 65500), f"more than {MOST_PIXELS} pixels"),
    "a large progressive JPEG": (lambda: jpeg(65500, 65500, progressive=True), f"more than {MOST_PIXELS} pixels"),
    "a JPEG a little too large": (lambda: jpeg(9000, 9000), "9000 × 9000 pixels"),
    "a large JPEG behind garbage": (lambda: jpeg(65500, 65500, b"\x00garbage\xff\x00\xff\xff"), ""),
    "a large JPEG behind marks": (lambda: jpeg(65500, 65500, b"\xff\x01\xff\xd0\xff\xd7"), ""),
    "a large JPEG behind a segment of no length": (lambda: jpeg(65500, 65500, b"\xff\xe5\0\0"), ""),
    "a large PNG": (lambda: png(40000, 40000), f"more than {MOST_PIXELS} pixels"),
    "a PNG with something before its size": (lambda: png(40000, 40000, b"\0\0\0\0tEXt1234"), ""),
    "scans without an image": (lambda: b"\xff\xd8" + encoded()[-20:].join([b"\xff\xda\0\2"] * 2), NONE),
    "only its end": (lambda: b"\xff\xd8\xff\xd9", NONE),
    "a GIF": (lambda: encoded("GIF", "P", (2000, 2000)), NONE),
    "a WebP": (lambda: encoded("WEBP"), NONE),
    "a JPEG cut in its header": (lambda: encoded()[:150], NONE),
    "a PNG cut in its header": (lambda: encoded("PNG")[:20], NONE),
    "nothing": (lambda: b"", NONE),
}


def read(path: Path) -> str:
    try:
        return str(list(read_image(str(path)).shape))
    except ValueError as error:
        return str(error)


def test_an_image_that_asks_for_gigabytes_is_refused_by_name_and_the_next_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "endless.jpg").open("wb") as file:
        file.truncate(2**40)
    expected = {
        "pipe.jpg": "a named pipe", "zero.jpg": "a device", "loop.jpg": "Too many levels", "folder.jpg": "a directory",
        "endless.jpg": "larger than 64 MiB",
    }  # fmt: skip
    for number, (content, reason) in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.jpg").write_bytes(content())
        expected[f"{number}.jpg"] = reason
    (tmp_path / "many.jpg").write_bytes(many_scans(100))
    expected["many.jpg"] = "more than 32 scans"
    (tmp_path / "good.jpg").write_bytes(jpeg(40, 30))
    (tmp_path / "good.png").write_bytes(png(40, 30))
    (tmp_path / "scans.jpg").write_bytes(many_scans(20))
    good = ("good.jpg", "good.png", "scans.jpg")
    lines = within_limits(read, [tmp_path / name for name in (*expected, *good)])
    assert lines[len(expected) :] == ["[3, 30, 40]"] * 3
    for line, (name, reason) in zip(lines, expected.items(), strict=False):
        assert line.startswith(f"{tmp_path / name} cannot be read as an image (") and reason in line
        assert len(line) < 400


def test_a_check_finds_the_images_that_training_refuses_and_reads_their_heads_alone(tmp_path):
    for side in ("train", "val"):
        (tmp_path / side / "a").mkdir(parents=True)
        (tmp_path / side / "a" / "good.jpg").write_bytes(encoded())
    folder = tmp_path / "train" / "a"
    os.mkfifo(folder / "pipe.jpg")
    for number, (content, _) in enumerate(HOSTILE.values()):
        (folder / f"{number}.jpg").write_bytes(content())
    # With a picture of itself in front of its size, as a camera writes it.
    (folder / "photograph.jpg").write_bytes(jpeg(40, 30, (b"\xff\xe1" + struct.pack(">H", 65000) + bytes(64998)) * 3))
    (folder / "progressive.jpg").write_bytes(encoded(progressive=True))
    problems = check_image_folders(tmp_path, expected_classes=1)
    images = list_image_folders(tmp_path).train
    paths = [images.path(index) for index in range(len(images))]
    bad = [path for path in paths if Path(path).stem in map(str, range(len(HOSTILE))) or "pipe" in path]
    assert [problem.partition(": ")[0] for problem in problems] == bad
    reasons = {problem.partition(": ")[0]: problem for problem in problems}
    for number, (_, reason) in enumerate(HOSTILE.values()):
        assert reason in reasons[str(folder / f"{number}.jpg")]


@pytest.mark.parametrize("make", [jpeg, png])
def test_the_largest_of_imagenet_and_anything_smaller_is_allowed_and_one_pixel_more_than_the_most_is_not(make):
    for size in ((9331, 6530), (8192, 8192), (1, 1)):
        check_image(make(*size))
    with pytest.raises(ValueError, match=f"more than {MOST_PIXELS}"):
        check_image(make(8192, 8193))
