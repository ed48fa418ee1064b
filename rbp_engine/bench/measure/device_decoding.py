"""Training images that a device decodes and augments itself: on a card JPEGs by nvJPEG, where torchvision has it.

No run loads its images so; the rate says whether it would be worth it where the cores of a machine are too slow.
"""

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.protocol import Batch

# A random crop's share of the image and its sides' ratio, as in ImageNet training elsewhere.
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def decoded_on(device: torch.device, files: Sequence[Path], batch: int, size: int = 224) -> Generator[Batch]:
    """Endless batches [B, 3, size, size] of randomly cropped and flipped images; raises RuntimeError without nvJPEG."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2.functional import horizontal_flip, resized_crop

    draw = np.random.default_rng(0)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    while True:
        encoded = [read_file(str(files[place])) for place in draw.integers(0, len(files), batch)]
        images: list[Tensor] = decode_jpeg(encoded, ImageReadMode.RGB, device)
        crops = []
        for image in images:
            cropped = resized_crop(image, *_box(draw, *image.shape[1:]), [size, size], antialias=True)
            crops.append(horizontal_flip(cropped) if draw.random() < 0.5 else cropped)
        yield torch.stack(crops).float().div_(255), labels


def _box(draw: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop."""
    area = draw.uniform(*AREA) * height * width
    ratio = np.exp(draw.uniform(*np.log(RATIO)))
    tall, wide = min(height, round((area / ratio) ** 0.5)), min(width, round((area * ratio) ** 0.5))
    return int(draw.integers(0, height - tall + 1)), int(draw.integers(0, width - wide + 1)), tall, wide
