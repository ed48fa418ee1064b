"""What an image file says of itself before it is decoded: a few bytes can ask for gigabytes. Without torch."""

import re
import struct
from typing import Final

from rbp_engine.untrusted_files import MIB

#: The most pixels of an image, 8192 × 8192. The largest of ImageNet has 61 million; decoding takes up to 12 bytes each.
MOST_PIXELS: Final = 2**26
#: The most bytes of an image file; the largest of ImageNet has 15 MB.
LARGEST_IMAGE: Final = 64 * MIB

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
# As the decoder finds it: what lies between two segments is skipped.
_MARKER: Final = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
_WITHOUT_CONTENT: Final = (0x01, *range(0xD0, 0xD8))
_FRAMES: Final = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_ONE_PASS: Final = (0xC0, 0xC1, 0xC9)
_SCAN: Final = 0xDA
_END: Final = 0xD9
# Encoders write a dozen; each costs the decoder a tenth of a second on the largest image, and the file 20 bytes.
_MOST_SCANS: Final = 32
_MOST_SEGMENTS: Final = 1000


class CutShort(ValueError):
    """The contents end before the size of the image is known."""


def check_image(content: bytes, whole: bool = True) -> None:
    """Raise ValueError, with the reason, for what is no JPEG or PNG image, or one of too many pixels.

    `content` may be the beginning of a file, not `whole`; CutShort then asks for more of it.
    """
    try:
        if content.startswith(_PNG):
            _check_png(content)
        elif content.startswith(_JPEG):
            _check_jpeg(content, whole)
        else:
            raise ValueError("it is neither a JPEG nor a PNG image")
    except (IndexError, struct.error):
        raise CutShort("it ends within its header") from None


def _check_png(content: bytes) -> None:
    kind, width, height = struct.unpack_from(">8sII", content, len(_PNG))
    if kind != b"\x00\x00\x00\x0dIHDR":
        raise ValueError("it does not begin as a PNG image")
    _check_size(width, height)


def _check_jpeg(content: bytes, whole: bool) -> None:
    place, components, one_pass = 2, 0, False
    for _ in range(_MOST_SEGMENTS):
        marker = _MARKER.search(content, place)
        if marker is None:
            raise CutShort("it ends within its header")
        code, place = marker[1][0], marker.end()
        if code in _WITHOUT_CONTENT:
            continue
        if code in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", content, place + 3)
            one_pass = code in _ONE_PASS
            _check_size(width, height)
        elif code == _SCAN and components:
            # A first scan of all components is the only one, unless each gives a few bits.
            if not (one_pass and content[place + 2] == components):
                _check_scans(content, whole)
            return
        elif code in (_SCAN, _END):
            raise ValueError("it holds no image")
        place += max(2, *struct.unpack_from(">H", content, place))
    raise ValueError(f"its header has more than {_MOST_SEGMENTS} segments")


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ValueError(f"it has {width} × {height} pixels, more than {MOST_PIXELS}")


def _check_scans(content: bytes, whole: bool) -> None:
    if not whole:
        raise CutShort("its scans are to be counted")
    if content.count(bytes((0xFF, _SCAN))) > _MOST_SCANS:
        raise ValueError(f"it has more than {_MOST_SCANS} scans")
