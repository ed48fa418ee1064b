"""The paper's training pipeline for CIFAR as published: torchvision's transforms, one Pillow image at a time.

Slow, for parity with the paper. Worker processes run it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import transforms

from rbp_engine.data.augment import augmentation
from rbp_engine.data.feed import DataSettings
from rbp_engine.data.loading.shares import Share
from rbp_engine.data.preprocess import Pixels


class PilImages:
    """Images in memory, uint8 [N, C, H, W], augmented one by one: float32 [C, H, W], normalised.

    In this order: random crop after `crop_padding` pixels of black, flip, AutoAugment (CIFAR-10 policy), tensor,
    normalise, cutout of `cutout` pixels.
    """

    def __init__(self, pixels: Tensor, normalised: Pixels, data: DataSettings) -> None:
        self.pixels = pixels
        self.cutout = data.cutout
        steps: list[Callable[[Any], Any]] = [transforms.ToPILImage()]
        if data.crop_padding:
            height, width = pixels.shape[-2:]
            steps.append(transforms.RandomCrop((height, width), padding=data.crop_padding))
        if data.flip:
            steps.append(transforms.RandomHorizontalFlip())
        if data.auto_augment:
            steps.append(transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10))
        normalise = transforms.Normalize(normalised.mean, normalised.deviation)
        self.steps = transforms.Compose([*steps, transforms.ToTensor(), normalise])

    def __call__(self, index: int, draw: np.random.Generator | None) -> Tensor:
        """The image for training; evaluations have batches of their own."""
        assert draw is not None
        # torchvision draws only from the global generator.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(draw.integers(2**63)))
            image: Tensor = self.steps(self.pixels[index])
            if self.cutout:
                alone, generator = Share.whole(1), torch.default_generator
                image = augmentation.cutout(image.unsqueeze(0), self.cutout, generator, alone).squeeze(0)
        return image
