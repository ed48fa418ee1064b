"""A network that a probe could disturb, and a batch for it."""

import random

import numpy as np
import torch
from torch import nn

from rbp_engine.spiking import LIF

T = 3


class Drawing(nn.Module):
    """A network that draws from every global generator, and keeps running statistics."""

    def __init__(self, kernel="eager"):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(kernel=kernel))
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(6 * 36, 4)

    def forward(self, x):
        x = self.features(x) * (0.9 + 0.1 * random.random()) * float(1.0 + 0.1 * np.random.rand())
        return self.out(self.dropout(x).flatten(1))


def batch(samples=8):
    draw = torch.Generator().manual_seed(1)
    return torch.rand((samples, 1, 6, 6), generator=draw) * 2.0, torch.arange(samples) % 4
