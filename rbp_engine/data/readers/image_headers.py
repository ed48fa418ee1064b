"""What an image file says of itself before it is decoded: a few bytes can ask for gigabytes. Without torch."""

import io
from typing import IO, Final

from PIL import Image

from rbp_engine.untrusted_files import MIB

#: The most pixels of an image, 8192 × 8192. The largest of ImageNet has 61 million; decoding takes up to 12 bytes each.
MOST_PIXELS: Final = 2**26
#: The most bytes of an image file; the largest of ImageNet has 15 MB.
LARGEST_IMAGE: Final = 64 * MIB

_SCAN: Final = b"\xff\xda"
# Encoders write a dozen; each costs the decoder a tenth of a second on the largest image, and the file 20 bytes.
_MOST_SCANS: Final = 32


def check_image(content: bytes) -> None:
    """Raise ValueError, with the reason, for what is no JPEG or PNG image, or one of too many pixels or scans."""
    kind = check_header(io.BytesIO(content))
    if kind != "PNG" and content.count(_SCAN) > _MOST_SCANS:
        raise ValueError(f"it has more than {_MOST_SCANS} scans")


def check_header(file: IO[bytes]) -> str | None:
    """The kind of an image, of which only the head is read. Raises ValueError as above, but not for its scans."""
    try:
        image = Image.open(file, formats=("JPEG", "PNG"))
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MOST_PIXELS} pixels") from None
    except Exception as error:  # a damaged file may raise anything in its reader
        raise ValueError("it is neither a JPEG nor a PNG image, or damaged in its header") from error
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width} × {image.height} pixels, more than {MOST_PIXELS}")
    return image.format
