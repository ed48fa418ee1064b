"""Raw images become a network's input as in the run's evaluation, and what is no raw image is refused with a remedy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rbp_engine.data.preprocess import Frames, NormalisePixels, Pixels

PIXELS = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
COLOUR = Pixels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
GREY = Pixels((0.3,), (0.4,))


@given(st.floats(0, 1), st.floats(0.01, 2))
def test_every_pixel_is_normalised_as_batches_are_whether_it_is_uint8_or_a_float(mean, deviation):
    pixels, raw = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16), Pixels((mean,), (deviation,))
    expected = NormalisePixels([mean], [deviation], torch.device("cpu"))(pixels)
    assert torch.equal(raw(pixels), expected)
    assert torch.equal(raw(pixels.float() / 255), expected)
    assert torch.equal(raw(pixels.numpy()), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PIXELS.permute(0, 2, 3, 1), r"3 channels, got the shape \[2, 4, 5, 3\]: .*permute\(0, 3, 1, 2\)"),
        (PIXELS[0], r"got the shape \[3, 4, 5\]: a single image is a batch of one, images\[None\]"),
        (PIXELS.long(), r"uint8 of 0 to 255 or as floats of 0 to 1, got torch\.int64"),
        (PIXELS.float(), "got 0 to 119: scale them, or give uint8"),
        (COLOUR(PIXELS), r"got -2\.5 .*normalised already go to method\.predict"),
        (torch.full((1, 3, 2, 2), float("nan")), "got nan to nan"),
        ([PIXELS[0]], r"a list holds PIL images, not Tensor: stack tensors into one \[B, C, H, W\]"),
        ([], r"got the shape \[0\]"),
    ],
)
def test_what_is_no_raw_image_is_refused_with_a_remedy(images, message):
    with pytest.raises(ValueError, match=message):
        COLOUR(images)


def test_images_without_a_channel_are_refused_with_a_remedy():
    with pytest.raises(
        ValueError, match=r"1 channel, got the shape \[2, 4, 5\]: insert the channel, images\[:, None\]"
    ):
        GREY(PIXELS[:, 0])


def test_pil_images_get_the_channels_and_where_it_crops_the_size_of_the_network_and_tensors_do_not():
    image = Image.fromarray(PIXELS[0].permute(1, 2, 0).numpy())
    assert torch.equal(COLOUR.raw([image, image]), PIXELS[:1].repeat(2, 1, 1, 1))
    assert torch.equal(GREY.raw(image), torch.from_numpy(np.array(image.convert("L")))[None, None])
    cropping, large = Pixels(COLOUR.mean, COLOUR.deviation, crop=8), Image.new("RGB", (40, 20), (10, 20, 30))
    assert cropping.raw([large]).shape == (1, 3, 8, 8)
    assert cropping.raw(PIXELS).shape == PIXELS.shape


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_frames_are_counts_over_time_times_a_scale(scale):
    frames = torch.randint(0, 9, (3, 2, 2, 4, 4), dtype=torch.uint8)
    assert torch.equal(Frames(2, scale)(frames), frames.float() * scale)
    with pytest.raises(ValueError, match=r"frames \[T, B, C, H, W\] of 2 channels, got the shape \[2, 2, 4, 4\]"):
        Frames(2)(frames[0])
