"""Synthetic events and sequences from `digits`, which need no further files.

Neither is recorded by a sensor. Training and test parts are those of `digits`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.sets.digits import DIGITS
from rbp_engine.data.splits import Images
from rbp_engine.errors import SettingsError

# Side of a frame of `moving_digits` in pixels; the digit is 12×12 and moves on a circle around the frame's centre.
CANVAS: Final = 16
_DIGIT: Final = 12
_RADIUS: Final = 1.5
_JITTER: Final = 0.5
# Camera samples per timestep, and the change in log intensity that triggers an event.
_LOOKS: Final = 4
_THRESHOLD: Final = 0.3
_DARK: Final = 0.1
# Of an image of digits.
_ROWS: Final = 8


def moving_digits(timesteps: int) -> tuple[Samples, Samples]:
    """Training and test samples, uint8 [N, T, 2, 16, 16]: channel 0 counts falls in intensity, channel 1 rises.

    Each digit moves once around a circle, with its own start and direction, and a pixel emits an event whenever its log
    intensity has changed by 0.3 since its last one. T slices of equal time. Sample i, numbered through both parts, is
    always the same.
    """
    splits = DIGITS.load()
    train = len(splits.train)
    paths = np.stack([_path(number, timesteps) for number in range(train + len(splits.test))])
    parts = (splits.train, paths[:train]), (splits.test, paths[train:])
    first, second = (_samples(_events(part.pixels, places, timesteps), part) for part, places in parts)
    return first, second


def sequential_digits(timesteps: int) -> tuple[Samples, Samples]:
    """Training and test samples, uint8 [N, 8, 1, 8, 8] with the scale 1/255: row t of the image at timestep t.

    The row is repeated to fill the frame, so that 2-D convolutions and pooling accept it. The mean over time keeps only
    the sum of each column; the rest of the information is in the order, which a firing rate does not carry. Raises
    SettingsError for another T.
    """
    if timesteps != _ROWS:
        raise SettingsError(
            f"sequential_digits has one timestep for each of its {_ROWS} rows: set T to {_ROWS}, not {timesteps}"
        )
    splits = DIGITS.load()
    first, second = (
        _samples(part.pixels.transpose(1, 2).expand(-1, -1, _ROWS, -1).unsqueeze(2), part, scale=1 / 255)
        for part in (splits.train, splits.test)
    )
    return first, second


def _samples(counts: Tensor, part: Images, scale: float = 1.0) -> Samples:
    return Samples(counts.contiguous().numpy(), part.labels.numpy(), scale)


def _path(number: int, timesteps: int) -> npt.NDArray[Any]:
    """The digit's centre at each camera sample, [samples, 2] in pixels (right, down) from the canvas's centre."""
    random = np.random.default_rng([0, number])
    start, direction = random.random(), random.choice([-1.0, 1.0])
    angle = 2 * np.pi * (start + direction * np.linspace(0.0, 1.0, timesteps * _LOOKS + 1))
    return _RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1) + random.uniform(-_JITTER, _JITTER, 2)


def _events(pixels: Tensor, paths: npt.NDArray[Any], timesteps: int) -> Tensor:
    """uint8 [N, T, 2, CANVAS, CANVAS] of images uint8 [N, 1, 8, 8] on paths [N, T · _LOOKS + 1, 2]."""
    digit = F.interpolate(pixels.float() / 255, (_DIGIT, _DIGIT), mode="bilinear")
    canvas = F.pad(digit, [(CANVAS - _DIGIT) // 2] * 4)
    places = torch.from_numpy(paths).float()
    counts = torch.zeros(len(pixels), timesteps, 2, CANVAS, CANVAS, dtype=torch.uint8)
    last = _log_intensity(canvas, places[:, 0])
    for look in range(timesteps * _LOOKS):
        steps = torch.trunc((_log_intensity(canvas, places[:, look + 1]) - last) / _THRESHOLD)
        last += steps * _THRESHOLD
        counts[:, look // _LOOKS, 0] += (-steps).clamp(min=0).to(torch.uint8)
        counts[:, look // _LOOKS, 1] += steps.clamp(min=0).to(torch.uint8)
    return counts


def _log_intensity(canvas: Tensor, places: Tensor) -> Tensor:
    """The log intensity [N, H, W] of the canvas [N, 1, H, W] moved by `places` [N, 2] pixels."""
    turn = torch.eye(2).expand(len(canvas), 2, 2)
    # The grid gives the source of each pixel, in units of half the canvas.
    moved = torch.cat([turn, -places.unsqueeze(2) * (2 / CANVAS)], dim=2)
    grid = F.affine_grid(moved, list(canvas.shape), align_corners=False)
    return torch.log(_DARK + F.grid_sample(canvas, grid, align_corners=False).squeeze(1))
