"""What a trained network withstands: another T, time in another order, noise, timesteps without input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rbp_engine.evaluation.trained import SEED, PlainPass, Trained
from rbp_engine.methods.inputs import is_static
from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import DROPPED, NOISE, SHUFFLED, TIMESTEPS, Disturbed, Robustness

# In standard deviations of the input.
NOISES = (0.1, 0.2, 0.5)
# Shares of the timesteps.
DROPS = (0.25, 0.5)


@dataclass(frozen=True)
class PlannedTest:
    """A disturbance to evaluate under; see `Disturbed`."""

    kind: str
    timesteps: int
    amount: float = 0.0

    @property
    def text(self) -> str:
        """What it is, in words."""
        disturbed = {
            TIMESTEPS: "",
            SHUFFLED: " with time shuffled",
            NOISE: f" with noise of {self.amount:g} σ",
            DROPPED: f" without the input of {self.amount:.0f} timesteps",
        }
        return f"accuracy{disturbed[self.kind]}"


def planned(trained: int, timesteps: Sequence[int] = (), *, one_t: bool = False) -> list[PlannedTest]:
    """The tests of a network trained with T = `trained`, in the order of the table.

    `timesteps` are the other T to test at; if empty half and double the trained one, or none with `one_t`.
    """
    others = timesteps or (() if one_t else (trained // 2, 2 * trained))
    tests = [PlannedTest(TIMESTEPS, steps) for steps in dict.fromkeys(others) if steps not in (0, trained)]
    if trained > 1:
        tests.append(PlannedTest(SHUFFLED, trained))
    tests += [PlannedTest(NOISE, trained, amount) for amount in NOISES]
    dropped = dict.fromkeys(max(1, round(share * trained)) for share in DROPS)
    return tests + [PlannedTest(DROPPED, trained, count) for count in dropped if count < trained]


def measure_robustness(trained: Trained, plain: PlainPass, tests: Sequence[PlannedTest]) -> Robustness:
    """Evaluate on the test set under each of the tests; all that is drawn comes from SEED."""
    rows = []
    for test in tests:
        # Images have no T; frames are made for each T.
        same = test.timesteps == trained.timesteps or not plain.feed.has_time
        feed = plain.feed if same else trained.feed(test.timesteps)
        scores = trained.evaluate(
            feed.test,
            test.timesteps,
            test.text,
            **_disturbance(test, plain.input_deviation, trained.loaded.device),
        )
        rows.append(Disturbed(one_line(test.kind), test.timesteps, test.amount, scores["top1"]))
    return Robustness(plain.of, SEED, plain.input_deviation, tuple(rows))


def _disturbance(test: PlannedTest, deviation: float, device: torch.device) -> dict[str, Any]:
    """What `Trained.evaluate` does differently."""
    generator = torch.Generator(device).manual_seed(SEED)
    change: dict[str, Callable[[Tensor], Tensor]] = {
        NOISE: lambda images: noisy(images, test.amount * deviation, generator),
        DROPPED: lambda images: dropped(images, test.timesteps, int(test.amount), generator),
    }
    if test.kind == SHUFFLED:
        return {"shuffle": True}
    return {"change": change[test.kind]} if test.kind in change else {}


def noisy(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """The images with Gaussian noise of this standard deviation.

    An image that is shown at every timestep has the same noise at each; every frame of a sequence has its own.
    """
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + deviation * noise


def dropped(images: Tensor, timesteps: int, count: int, generator: torch.Generator) -> Tensor:
    """A sequence [T, B, C, H, W] in which `count` timesteps of each sample are zero, drawn for each sample.

    `images` are [B, C, H, W], shown at each of the other timesteps, or frames [T, B, C, H, W]. Zero is no event in a
    frame, and the mean over the data set in a normalised image.
    """
    sequence = images.expand(timesteps, *images.shape) if is_static(images) else images
    draws = torch.rand(timesteps, sequence.shape[1], generator=generator, device=images.device)
    kept = draws.argsort(0).argsort(0) >= count  # [T, B]
    return sequence * kept.view(*kept.shape, 1, 1, 1)
