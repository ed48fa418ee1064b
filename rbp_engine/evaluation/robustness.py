"""What a trained network withstands: another T, time in another order, noise, timesteps without input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rbp_engine.data.preprocess import Frames
from rbp_engine.data.protocol import Feed
from rbp_engine.evaluation.accuracy import Carrier, evaluate_by_step, shuffled
from rbp_engine.evaluation.plain import PlainPass
from rbp_engine.evaluation.trained import Trained
from rbp_engine.evaluation.work import Work
from rbp_engine.methods.inputs import is_static
from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import DROPPED, NOISE, SHUFFLED, TIMESTEPS, Disturbed, Robustness
from rbp_engine.spiking.carriers.sequence import SequenceTensor

# In standard deviations of the input.
NOISES = (0.1, 0.2, 0.5)
# Shares of the timesteps.
DROPS = (0.25, 0.5)
# Frames of CIFAR10-DVS at another T take minutes to make, and `sequential_digits` has one T only.
OF_ONE_T = ("cifar10_dvs", "sequential_digits")


@dataclass(frozen=True)
class PlannedTest:
    """A disturbance to evaluate under; see `Disturbed`."""

    kind: str
    timesteps: int
    amount: float = 0.0

    @property
    def text(self) -> str:
        """What it is, in words."""
        return {
            TIMESTEPS: f"accuracy at T = {self.timesteps}",
            SHUFFLED: "accuracy with time shuffled",
            NOISE: f"accuracy with noise of {self.amount:g} σ",
            DROPPED: f"accuracy without the input of {self.amount:.0f} of {self.timesteps} timesteps",
        }[self.kind]


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


def tests_of(trained: Trained, timesteps: Sequence[int] = ()) -> list[PlannedTest]:
    """The tests of a trained network: those of its T and its data."""
    return planned(trained.timesteps, timesteps, one_t=trained.loaded.preset.data.name in OF_ONE_T)


def measure_robustness(
    trained: Trained, plain: PlainPass, work: Work, tests: Sequence[PlannedTest], seed: int = 0
) -> Robustness:
    """Evaluate on the test set under each of the tests; all that is drawn comes from `seed`."""
    rows = []
    for test in tests:
        source = _feed(trained, plain.feed, test).test
        work.begin(test.text, test.timesteps, len(source))
        carrier, change = _disturbance(test, plain.input_deviation, trained.loaded.device, seed)
        precision = trained.loaded.preset.train.precision
        found = evaluate_by_step(
            trained.loaded.model, source, test.timesteps, precision, carrier=carrier, change=change, watch=work.watch
        )
        rows.append(Disturbed(one_line(test.kind), test.timesteps, test.amount, found["top1"]))
    return Robustness(plain.of, seed, plain.input_deviation, tuple(rows))


def _feed(trained: Trained, feed: Feed, test: PlannedTest) -> Feed:
    """The same data for images, which have no T; frames are made for each T."""
    if test.timesteps == trained.timesteps or not isinstance(feed.preprocess, Frames):
        return feed
    return trained.feed(test.timesteps)


def _disturbance(
    test: PlannedTest, deviation: float, device: torch.device, seed: int
) -> tuple[Carrier, Callable[[Tensor], Tensor] | None]:
    """What makes the network's input, and what changes the images before."""
    if test.kind == SHUFFLED:
        return shuffled(seed), None
    generator = torch.Generator(device).manual_seed(seed)
    if test.kind == NOISE:
        return SequenceTensor, lambda images: noisy(images, test.amount * deviation, generator)
    if test.kind == DROPPED:
        return SequenceTensor, lambda images: dropped(images, test.timesteps, int(test.amount), generator)
    return SequenceTensor, None


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
