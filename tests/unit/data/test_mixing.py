"""Mixup and CutMix: labels and pixels have the same shares, and a resume draws what would have been drawn."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rbp_engine.data.augment.mixing import box, mixed
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import TrainingBatches, Wanted

B, CLASSES = 6, 8


def marked(timesteps: int = 0, rank: int = 0) -> TrainingBatches:
    """Each image of a batch has its own label, and has the label's one-hot in every pixel of its channels."""

    def read(plan: Sequence[Wanted]) -> Iterator[tuple[Tensor, Tensor]]:
        for wanted in plan:
            labels = (torch.arange(B) + wanted.epoch + wanted.position) % CLASSES
            images = torch.eye(CLASSES)[labels].view(B, CLASSES, 1, 1).expand(B, CLASSES, 10, 12)
            yield images.expand(timesteps, *images.shape) if timesteps else images, labels

    count, cut = 4 * B * (rank + 1), Cut(batch_size=B * (rank + 1), rank=rank, world_size=rank + 1)
    return TrainingBatches(read, lambda wanted, *batch: batch, lambda epoch: np.arange(count), count, cut)


def batches(mixup: float, cutmix: float, seed: int = 1, rank: int = 0, timesteps: int = 0) -> TrainingBatches:
    return mixed(marked(timesteps, rank), CLASSES, mixup, cutmix, seed)


@pytest.mark.parametrize("timesteps", [0, 3])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_the_shares_of_labels_are_those_of_pixels(mixup, cutmix, timesteps):
    ways = set()
    for seed in range(6):
        for (images, labels), (_, before) in zip(
            batches(mixup, cutmix, seed, timesteps=timesteps).epoch(0), marked().epoch(0), strict=True
        ):
            assert images.shape == (*[timesteps] * bool(timesteps), B, CLASSES, 10, 12)
            for step in images if timesteps else [images]:
                torch.testing.assert_close(step.mean((2, 3)), labels)
            shares = labels.gather(1, before.unsqueeze(1)).squeeze(1)  # of the image itself, the same for all ...
            kept = shares[shares < 1]  # ... but those that were mixed with themselves
            torch.testing.assert_close(kept, kept[:1].expand_as(kept))
            ways.add("cut" if set(images.unique().tolist()) <= {0.0, 1.0} else "mixed")
    assert ways == {way for way, alpha in (("cut", cutmix), ("mixed", mixup)) if alpha}


def test_what_is_drawn_depends_on_seed_epoch_position_and_process_alone():
    whole = list(batches(0.5, 0.5).epoch(2))
    torch.manual_seed(99)  # the global generator counts for nothing
    again = list(batches(0.5, 0.5).epoch(2, start=2))
    for (images, labels), (expected, theirs) in zip(again, whole[2:], strict=True):
        assert torch.equal(images, expected) and torch.equal(labels, theirs)
    for other in (batches(0.5, 0.5, seed=2), batches(0.5, 0.5, rank=1)):
        assert not any(torch.equal(a[0], b[0]) for a, b in zip(other.epoch(2), whole, strict=True))


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32))
def test_a_box_has_its_share_of_the_image_but_for_what_is_outside(height, width, share, seed):
    for side, length in zip(box(height, width, share, np.random.default_rng(seed)), (height, width), strict=True):
        assert 0 <= side.start <= side.stop <= length
        size, whole = side.stop - side.start, round(length * share**0.5)
        assert size == whole or (size < whole and (side.start == 0 or side.stop == length))
