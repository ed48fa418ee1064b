"""`time=` says whether the first dimension of images is time, where their number of dimensions does not."""

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF

T, B = 3, 4
LABELS = torch.arange(B) % 3


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), LIF(), nn.Linear(8, 3)).double()


def sequences():
    """A network of [B, C, L]."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), LIF(), nn.Flatten(), nn.Linear(16, 3)).double()


def numbers(*size):
    return torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def step(name, model, images, labels=LABELS, **how):
    out = create_method(name, T).step(model, images, labels, **how)
    return [out.loss, out.logits, *(weight.grad for weight in model.parameters())]


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_flat_features_of_each_timestep_are_images_of_one_pixel(name):
    flat = numbers(T, B, 6)
    assert_same(step(name, perceptron(), flat, time=True), step(name, perceptron(), flat[..., None, None]))
    logits = create_method(name, T).predict(perceptron(), flat, time=True)
    torch.testing.assert_close(logits, create_method(name, T).predict(perceptron(), flat[..., None, None]))


@pytest.mark.parametrize("name", METHODS)
def test_sequences_without_time_are_shown_at_every_step(name):
    x = numbers(B, 2, 6)
    repeated = x.expand(T, *x.shape)
    assert_same(step(name, sequences(), x, time=False), step(name, sequences(), repeated, time=True))
    assert create_method(name, T).predict(sequences(), x, timesteps=5, time=False).shape == (5, B, 3)


@pytest.mark.parametrize("name", METHODS)
def test_volumes_and_sequences_over_time_need_no_more_than_the_word(name):
    """[B, C, D, H, W], which is else read as [T, B, C, H, W], and [T, B, C, L], which is else read as [B, C, H, W]."""
    torch.manual_seed(0)
    volumes = nn.Sequential(nn.Conv3d(2, 3, 2), LIF(), nn.Flatten(), nn.Linear(3, 3)).double()
    assert step(name, volumes, numbers(B, 2, 2, 2, 2), time=False)[1].shape == (B, 3)
    assert step(name, sequences(), numbers(T, B, 2, 6), time=True)[1].shape == (B, 3)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_one_image_is_trained_as_a_part_of_a_larger_one(name):
    """Without batch norm the gradient of a batch is the mean of those of its images."""
    x = numbers(B, 6)
    whole = step(name, perceptron(), x)
    single = [step(name, perceptron(), x[i : i + 1], LABELS[i : i + 1]) for i in range(B)]
    torch.testing.assert_close(torch.cat([logits for _, logits, *_ in single]), whole[1])
    for place in range(2, len(whole)):
        mean = torch.stack([found[place] for found in single]).mean(0)
        torch.testing.assert_close(mean, whole[place], rtol=1e-10, atol=1e-13)
    assert_same(single[0], step(name, perceptron(), x[:1].expand(T, 1, 6), LABELS[:1], time=True))


def test_a_shape_that_does_not_decide_is_an_error_that_says_how_to():
    method = create_method("bptt", T)
    with pytest.raises(ValueError, match=r"got the shape \[3, 4, 6\].*time=True for \[T, B, …\], time=False for"):
        method.predict(perceptron(), numbers(T, B, 6))
    with pytest.raises(ValueError, match=r"with time=True images are \[T, B, …\].*got the shape \[3, 4\]"):
        method.predict(perceptron(), numbers(T, B), time=True)
    with pytest.raises(ValueError, match=r"the input has 4 timesteps, the method 3.*read as \[T, B, …\]"):
        method.predict(perceptron(), numbers(B, T, 6), time=True)
    with pytest.raises(ValueError, match="time=False reads them as"):
        method.predict(perceptron(), numbers(B, 2, 2, 2, 2))


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_images_that_require_a_gradient_get_it(name, static):
    """In the rate methods each frame has a share 1/T of the mean's; bptt tells the frames apart."""
    images = numbers(*(() if static else (T,)), B, 2, 6, 6).requires_grad_()
    torch.manual_seed(0)
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 4, 2), LIF(threshold=0.3), nn.Flatten(), nn.Linear(16, 3))
    create_method(name, T).step(model.double(), images, LABELS)
    assert images.grad is not None and images.grad.any()
    if name == "rate_m":
        other = images.detach().requires_grad_()
        create_method("rate_s", T).step(model, other, LABELS)
        assert_same([images.grad], [other.grad])
