"""One image file at a time: decoded, cropped and resized on the CPU, in a worker process."""

import math
import re

import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional

from rbp_engine.data.readers.image_folders import ImageList
from rbp_engine.data.readers.image_headers import LARGEST_IMAGE, check_image
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import read_untrusted


def square(images: ImageList, size: int, index: int, draw: np.random.Generator | None) -> Tensor:
    """An image of the list, uint8 [3, size, size]: a crop of random size and shape, or without `draw` the centre.

    Raises DataError for a damaged file.
    """
    image = read_image(images.path(index))
    if draw is None:
        return centre(image, size)
    top, left, height, width = random_box(image.shape[-2], image.shape[-1], draw)
    crop: Tensor = functional.resized_crop(image, top, left, height, width, [size, size], antialias=True)
    return crop


def centre(image: Tensor, size: int) -> Tensor:
    """The shorter side resized to 256 pixels (for `size` 224), then a centre crop of `size` × `size` pixels."""
    square: Tensor = functional.center_crop(
        functional.resize(image, [round(size * 256 / 224)], antialias=True), [size, size]
    )
    return square


def read_image(path: str) -> Tensor:
    """The image in a file, converted to RGB, as uint8 [3, H, W]. Raises DataError that names the file."""
    try:
        content = read_untrusted(path, LARGEST_IMAGE)
        check_image(content)
        image = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({_reason(error)}): copy or unpack it again, or remove it"
        ) from None
    eight_bits: Tensor = functional.to_dtype(image, torch.uint8, scale=True)  # of a PNG with 16 bits, the upper 8
    return eight_bits


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    # torchvision's message begins with the line in its source that raised it.
    return re.sub(r"^.*\.cpp:\d+, ", "", str(error)).partition(". ")[0]


def random_box(height: int, width: int, draw: np.random.Generator) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a crop of 8 % to 100 % of the area, with an aspect ratio of 3:4 to 4:3.

    The crop of Inception (Szegedy et al., 2015); if none of ten draws fits, the largest centre crop.
    """
    for _ in range(10):
        area = height * width * draw.uniform(0.08, 1.0)
        ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(draw.integers(0, height - crop_height + 1))
            left = int(draw.integers(0, width - crop_width + 1))
            return top, left, crop_height, crop_width
    crop_width = min(width, round(height * 4 / 3))
    crop_height = min(height, round(width * 4 / 3))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width
