"""Every operation on a batch compared with torchvision's on single images, and the drawn policies."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision import transforms
from torchvision.transforms.v2 import functional as v2

from rbp_engine.data.augment.autoaugment import OPERATIONS, AutoAugment
from rbp_engine.data.augment.policy import CIFAR10_POLICY, SIGNED, Choices, draw_choices, magnitude
from rbp_engine.data.loading.shares import Share

CPU, CARD = torch.device("cpu"), torch.device("meta")
THEIRS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "invert": lambda image, amount: v2.invert(image),
    "posterize": lambda image, amount: v2.posterize(image, int(amount)),
    "solarize": lambda image, amount: v2.solarize(image, amount),
    "autocontrast": lambda image, amount: v2.autocontrast(image),
    "equalize": lambda image, amount: v2.equalize(image),
    "brightness": lambda image, amount: v2.adjust_brightness(image, 1 + amount),
    "color": lambda image, amount: v2.adjust_saturation(image, 1 + amount),
    "contrast": lambda image, amount: v2.adjust_contrast(image, 1 + amount),
    "sharpness": lambda image, amount: v2.adjust_sharpness(image, 1 + amount),
    "rotate": lambda image, amount: v2.rotate(image, amount),
    "shear_y": lambda image, amount: v2.affine(
        image, 0.0, [0, 0], 1.0, [0.0, math.degrees(math.atan(amount))], center=[0, 0]
    ),
    "translate_x": lambda image, amount: v2.affine(image, 0.0, [int(amount), 0], 1.0, [0.0, 0.0]),
    "translate_y": lambda image, amount: v2.affine(image, 0.0, [0, int(amount)], 1.0, [0.0, 0.0]),
}
EXACT = {"invert", "posterize", "solarize", "equalize", "rotate", "shear_y", "translate_x", "translate_y"}
TORCHVISION_NAMES = {"autocontrast": "AutoContrast", "shear_y": "ShearY"} | {
    f"translate_{axis}": f"Translate{axis.upper()}" for axis in "xy"
}


def sample_images(size: tuple[int, int] = (32, 32)) -> Tensor:
    """Noise, smooth images, one of a single colour, one with a constant channel, and one with two values."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (8, 3, *size), dtype=torch.uint8, generator=draw)
    coarse = torch.rand(11, 3, 4, 4, generator=draw) * 255
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 255).to(torch.uint8)
    smooth[0] = 7
    smooth[1, 0] = 200
    smooth[2] = (smooth[2] > 127) * 90
    return torch.cat([noise, smooth])


def operated(images: Tensor, name: str, level: int, sign: int = 1) -> Tensor:
    """The images after one operation."""
    applied = torch.tensor([[True, False]]).expand(len(images), 2)
    choices = Choices(torch.zeros(len(images), dtype=torch.int64), applied, torch.full((len(images), 2), float(sign)))
    height, width = images.shape[-2:]
    return AutoAugment(height, width, CPU, [((name, 1.0, level), (name, 1.0, level))]).apply(images, choices)


def torchvision_name(name: str) -> str:
    return TORCHVISION_NAMES.get(name, name.capitalize())


def test_the_policy_equals_torchvisions_table():
    theirs = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10).policies
    ours = [tuple((torchvision_name(name), chance, level) for name, chance, level in steps) for steps in CIFAR10_POLICY]
    assert ours == [tuple((name, chance, level or 0) for name, chance, level in steps) for steps in theirs]
    assert len(ours) == 25


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
def test_levels_have_torchvisions_meaning(size):
    space = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)._augmentation_space(10, size)
    for name in OPERATIONS:
        theirs, signed = space[torchvision_name(name)]
        assert signed == (name in SIGNED)
        if theirs.ndim:
            ours = torch.tensor([float(magnitude(name, level, *size)) for level in range(10)])
            torch.testing.assert_close(ours, theirs.float(), atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_on_a_batch_equals_torchvisions_on_each_image(name, size):
    images = sample_images(size)
    levels = {level for steps in CIFAR10_POLICY for other, _, level in steps if other == name} | {0, 9}
    for level in levels:
        for sign in (1, -1) if name in SIGNED else (1,):
            amount = sign * magnitude(name, level, *size)
            ours = operated(images, name, level, sign)
            theirs = torch.stack([THEIRS[name](image, amount) for image in images])
            assert ours.dtype == torch.uint8
            difference = (ours.int() - theirs.int()).abs()
            assert int(difference.max()) <= (0 if name in EXACT else 1), (level, sign)
            assert float((difference > 0).float().mean()) < 1e-3, (level, sign)


def test_a_batch_has_the_drawn_choices_applied_to_each_image():
    images = sample_images().repeat(12, 1, 1, 1)
    before = images.clone()
    augmented = AutoAugment(32, 32, CPU)(images, torch.Generator().manual_seed(3), Share.whole(len(images)))
    choices = draw_choices(Share.whole(len(images)), torch.Generator().manual_seed(3))
    assert torch.equal(images, before), "the batch that came in is not changed"
    for index, image in enumerate(images):
        expected = image
        for place, (name, _, level) in enumerate(CIFAR10_POLICY[int(choices.policy[index])]):
            if choices.applied[index, place]:
                sign = float(choices.sign[index, place]) if name in SIGNED else 1.0
                expected = THEIRS[name](expected, sign * magnitude(name, level, 32, 32))
        assert int((augmented[index].int() - expected.int()).abs().max()) <= 1
    assert len(choices.policy.unique()) == 25


def test_each_policy_step_and_sign_is_drawn_as_often_as_the_paper_says():
    count = 50_000
    choices = draw_choices(Share.whole(count), torch.Generator().manual_seed(0))
    times = choices.policy.bincount(minlength=25)
    # Five standard deviations of a binomial distribution.
    assert bool((times.float() - count / 25).abs().max() < 5 * math.sqrt(count / 25))
    for number, steps in enumerate(CIFAR10_POLICY):
        applied = choices.applied[choices.policy == number].float().mean(0)
        for place, (_, chance, _) in enumerate(steps):
            assert abs(float(applied[place]) - chance) <= 5 * math.sqrt(chance * (1 - chance) * 25 / count) + 1e-9
    assert set(choices.sign.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(choices.sign.mean())) < 0.02


def test_the_same_generator_draws_the_same_and_the_global_one_is_left_alone():
    images = sample_images()
    state = torch.get_rng_state()
    augment = AutoAugment(32, 32, CPU)
    first, again, other = (
        augment(images, torch.Generator().manual_seed(seed), Share.whole(len(images))) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


class Account(TorchDispatchMode):
    """Counts copies from the host to CARD, and what else is launched there. CARD has shapes and no values."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        devices = {leaf.device for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)}
        free = func.is_view or func.overloadpacket.__name__.startswith(("empty", "new_empty", "_reshape_alias"))
        if CARD in devices and not free:
            self.copies += len(devices) > 1
            self.launches += len(devices) == 1
        return out


@pytest.mark.parametrize("batch", [1, 128])
def test_what_a_card_has_to_do_does_not_depend_on_the_draw_or_on_the_batch(batch):
    augment, images = AutoAugment(32, 32, CARD), torch.empty(batch, 3, 32, 32, dtype=torch.uint8, device=CARD)
    for seed in range(5):
        with Account() as account:
            augment(images, torch.Generator().manual_seed(seed), Share.whole(batch))
        assert (account.launches, account.copies) == (60, 2)
