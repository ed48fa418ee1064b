import numpy as np
import pytest
import torch
from torchvision import transforms

from rbp_engine.data.events.resize import LEGACY_SCALE, exact, legacy_pil


def counts(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.4, (3, 2, 128, 128))


def test_legacy_resize_loses_channel_0_if_channel_1_is_empty_and_exact_resize_does_not():
    frames = counts()
    frames[:, 1, :, :64] = 0
    legacy, ours = legacy_pil(frames, 48), exact(frames, 48)
    # The two columns next to the edge mix with the other half.
    assert (legacy[:, 0, :, :22] == 0).all()
    assert (ours[:, 0, :, :22] > 0).mean() > 0.8
    assert (legacy[:, 0, :, 26:] > 0).mean() > 0.8


def test_legacy_resize_equals_the_published_transforms():
    frames = torch.from_numpy(counts(1)).float()
    frames[0, :, :5, :5] = torch.tensor([1.0, 255.0, 256.0, 257.0, 300.0])
    published = transforms.Compose([transforms.ToPILImage(), transforms.Resize((48, 48)), transforms.ToTensor()])
    expected = torch.stack([published(frame) for frame in frames])
    assert np.allclose(legacy_pil(frames.numpy(), 48) * LEGACY_SCALE, expected.numpy(), atol=1e-6)


def test_exact_resize_keeps_the_mean_and_treats_frames_independently():
    frames = counts(2)
    small = exact(frames, 48)
    assert small.shape == (3, 2, 48, 48) and small.dtype == np.float32
    assert small.mean() == pytest.approx(frames.mean(), rel=0.01)
    assert np.array_equal(exact(frames[1:2, :1], 48), small[1:2, :1])
    assert np.array_equal(exact(frames, 128), frames)
