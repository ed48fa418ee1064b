import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rbp_engine.data.augment.augmentation import cutout, random_crop, random_flip
from rbp_engine.data.loading.shares import Share

SIDES, SEEDS = st.integers(1, 9), st.integers(0, 2**32)


def numbered(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Images in which all pixels are different and none is zero."""
    return torch.arange(1.0, batch * channels * height * width + 1).view(batch, channels, height, width)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """The moved image, filled up with zeros."""
    _, height, width = image.shape
    moved = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                moved[:, row, column] = image[:, row - down, column - right]
    return moved


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), SEEDS)
def test_a_crop_of_padding_p_shifts_each_image_by_at_most_p_pixels(batch, channels, height, width, padding, seed):
    images = numbered(batch, channels, height, width)
    cropped = random_crop(images, padding, generator(seed), Share.whole(len(images)))
    assert cropped.shape == images.shape
    offsets = range(-padding, padding + 1)
    for before, after in zip(images, cropped, strict=True):
        assert any(torch.equal(after, shifted(before, down, right)) for down in offsets for right in offsets)


def test_every_shift_occurs_about_equally_often():
    images = numbered(1, 1, 3, 3).repeat(9000, 1, 1, 1)
    _, counts = random_crop(images, 1, generator(1), Share.whole(len(images))).unique(dim=0, return_counts=True)
    assert len(counts) == 9
    assert int(counts.min()) > 850 and int(counts.max()) < 1150  # 1000 each, within five standard deviations of 30


@given(st.integers(1, 20), st.integers(1, 3), SIDES, SIDES, SEEDS)
def test_a_flip_mirrors_each_image_or_leaves_it_unchanged(batch, channels, height, width, seed):
    images = numbered(batch, channels, height, width)
    for before, after in zip(images, random_flip(images, generator(seed), Share.whole(len(images))), strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))


def test_about_half_of_the_images_are_mirrored():
    images = numbered(1, 1, 1, 2).repeat(10_000, 1, 1, 1)
    mirrored = (random_flip(images, generator(1), Share.whole(len(images)))[:, 0, 0, 0] == 2).sum()
    assert 4750 < int(mirrored) < 5250  # 5000, within five standard deviations of 50


@given(st.integers(1, 8), st.integers(1, 3), SIDES, SIDES, st.integers(1, 12), SEEDS)
def test_a_hole_is_one_square_possibly_cut_by_the_edge_and_the_rest_is_unchanged(
    batch, channels, height, width, side, seed
):
    images = numbered(batch, channels, height, width)
    erased = cutout(images, side, generator(seed), Share.whole(len(images)))
    for before, after in zip(images, erased, strict=True):
        hole = after == 0
        assert torch.equal(after[~hole], before[~hole])
        assert bool((hole == hole[:1]).all())  # the same in all channels
        rows, columns = hole[0].any(1).nonzero().flatten(), hole[0].any(0).nonzero().flatten()
        assert int(hole[0].sum()) == len(rows) * len(columns) <= side**2
        for found, size in ((rows, height), (columns, width)):
            assert 1 <= len(found) <= min(side, size)
            assert int(found[-1] - found[0]) == len(found) - 1  # no gap
            assert len(found) == side or int(found[0]) == 0 or int(found[-1]) == size - 1


def test_a_hole_is_centred_on_every_pixel_with_equal_probability():
    erased = cutout(torch.ones(9000, 1, 3, 3), 1, generator(1), Share.whole(9000))
    counts = (erased == 0).sum(0).flatten()
    assert int(counts.sum()) == 9000
    assert int(counts.min()) > 850 and int(counts.max()) < 1150
