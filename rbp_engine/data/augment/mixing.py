"""Mixed images: each image of a batch with another, and its label with the other's.

    mixup     λ·x + (1 − λ)·x'                                    (Zhang et al., ICLR 2018)
    cutmix    x with a box of x', whose area is 1 − λ of the image    (Yun et al., ICCV 2019)

The label is λ·y + (1 − λ)·y', λ is drawn for each batch from Beta(α, α), and the other images are the batch in another
order. What is drawn is a function of seed, epoch, position and process alone.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.data.loading.batch_loader import Batch
from rbp_engine.data.loading.source import TrainingBatches, Wanted

# Keeps these draws from those of the order and augmentation of the same batch.
_MIXING = 0x6D6978


def mixed(source: TrainingBatches, classes: int, mixup: float, cutmix: float, seed: int) -> TrainingBatches:
    """The batches of a source, mixed: images as they were, labels the probabilities of classes, [B, C] float32.

    `mixup` and `cutmix` are their α, 0 for off; if both are on, each batch is mixed in one way, drawn with probability
    0.5. A process mixes its own share of a batch.
    """

    def finish(wanted: Wanted, *read: Tensor) -> Batch:
        images, labels = source.finish(wanted, *read)
        draw = np.random.default_rng((_MIXING, seed, wanted.epoch, wanted.position, source.cut.rank))
        return _mixed(images, F.one_hot(labels, classes).float(), mixup, cutmix, draw)

    return TrainingBatches(source.read, finish, source.order, source.count, source.cut)


def _mixed(images: Tensor, labels: Tensor, mixup: float, cutmix: float, draw: np.random.Generator) -> Batch:
    cut = bool(cutmix) and (not mixup or draw.random() < 0.5)
    alpha = cutmix if cut else mixup
    kept = float(draw.beta(alpha, alpha))
    order = torch.from_numpy(draw.permutation(len(labels))).to(labels.device)
    others = images.index_select(images.ndim - 4, order)
    if cut:
        rows, columns = box(images.shape[-2], images.shape[-1], 1.0 - kept, draw)
        images = images.clone()
        images[..., rows, columns] = others[..., rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        kept = 1.0 - area / (images.shape[-2] * images.shape[-1])
    else:
        images = others.lerp(images, kept)
    return images, labels[order].lerp(labels, kept)


def box(height: int, width: int, share: float, draw: np.random.Generator) -> tuple[slice, slice]:
    """The rows and columns of a box about a random point, of this share of the area unless it leaves the image."""
    sides = []
    for length in (height, width):
        half, centre = round(length * share**0.5) / 2, draw.integers(length)
        sides.append(slice(max(0, int(centre - half)), min(length, int(centre + half))))
    return sides[0], sides[1]
