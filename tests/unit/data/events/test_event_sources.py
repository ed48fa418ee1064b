import os
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.feed import EventSource, mirror_and_roll
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import TrainingBatches
from rbp_engine.errors import DataError

CPU = torch.device("cpu")


def samples(count: int = 23) -> Samples:
    counts = np.random.default_rng(0).integers(0, 9, (count, 3, 2, 6, 5)).astype(np.uint8)
    return Samples(counts, np.arange(count))


def training(loader: BatchLoader | None = None, **settings: Any) -> TrainingBatches:
    settings = {"batch_size": 5, "seed": 1} | settings
    cut = {key: settings.pop(key) for key in list(settings) if key in Cut.__dataclass_fields__}
    return source_of(samples(), loader, **settings).training(Cut(**cut))


def source_of(data: Samples, loader: BatchLoader | None = None, **settings: Any) -> EventSource:
    return EventSource(data, loader or BatchLoader(0, CPU), **settings)


@pytest.fixture
def children():
    """The processes that this one has started since; other tests leave those of torch's compiler."""
    before = psutil.Process().children()
    return lambda: [process for process in psutil.Process().children() if process not in before]


def test_a_batch_is_float_with_time_first_and_matches_its_labels():
    data = samples()
    for frames, chosen in training().epoch(0):
        assert frames.shape == (3, len(chosen), 2, 6, 5) and frames.dtype == torch.float32 and frames.is_contiguous()
        assert torch.equal(frames.transpose(0, 1), torch.from_numpy(data.counts[chosen.numpy()]).float())


def variants(sample: Tensor, roll: int) -> list[Tensor]:
    shifts = [(down, right) for down in range(-roll, roll + 1) for right in range(-roll, roll + 1)]
    return [image.roll(shift, (-2, -1)) for image in (sample, sample.flip(-1)) for shift in shifts]


def test_augmentation_is_one_flip_and_one_roll_for_all_timesteps_of_a_sample():
    data, seen = samples(), set()
    for epoch in range(20):
        for frames, chosen in training(flip=True, roll=1).epoch(epoch):
            for place, label in enumerate(chosen.tolist()):
                expected = variants(torch.from_numpy(data.counts[label]).float(), 1)
                matches = [number for number, one in enumerate(expected) if torch.equal(one, frames[:, place])]
                assert len(matches) == 1
                seen.add(matches[0])
    assert seen == set(range(18))


def test_samples_are_mirrored_first_and_then_rolled():
    counts = torch.arange(2 * 3 * 2 * 3 * 4).view(2, 3, 2, 3, 4)
    moved = mirror_and_roll(counts, torch.tensor([True, False]), torch.tensor([[1, 2], [0, -1]]))
    assert torch.equal(moved[0], counts[0].flip(-1).roll((1, 2), (-2, -1)))
    assert torch.equal(moved[1], counts[1].roll(-1, -1))


def test_cutout_erases_one_square_of_a_sample_at_all_timesteps_and_both_polarities():
    data, seen = Samples(np.ones((23, 3, 2, 6, 5), np.uint8), np.arange(23)), set()
    for frames, _ in source_of(data, cutout=2).training(Cut(batch_size=5, seed=1)).epoch(0):
        for sample in frames.unbind(1):
            hole = sample == 0
            assert (hole == hole[0, 0]).all() and 1 <= hole[0, 0].sum() <= 4
            seen.add(tuple(hole[0, 0].nonzero()[0].tolist()))
    assert len(seen) > 5


def test_evaluation_has_all_samples_in_order_and_applies_the_scale():
    data = samples()
    scaled = Samples(data.counts, data.labels, 0.5)
    batches = list(source_of(scaled).evaluation(Cut(batch_size=4)))
    assert torch.cat([part for _, part in batches]).tolist() == list(range(23))
    assert torch.equal(torch.cat([frames for frames, _ in batches], 1)[:, 7], torch.from_numpy(data.counts[7]) * 0.5)


def test_the_joined_shares_of_several_processes_are_the_batches_of_one():
    settings = {"flip": True, "roll": 2, "cutout": 3}
    parts = [training(**settings, rank=rank, world_size=3).epoch(1) for rank in range(3)]
    for (frames, chosen), *shares in zip(training(**settings).epoch(1), *parts, strict=True):
        assert torch.equal(torch.cat([share for share, _ in shares], 1), frames)
        assert torch.equal(torch.cat([share for _, share in shares]), chosen)
    evaluations = [source_of(samples()).evaluation(Cut(batch_size=4, rank=rank, world_size=3)) for rank in range(3)]
    assert [label for one in evaluations for _, part in one for label in part.tolist()] == list(range(23))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_that_processes_read_ahead_are_those_that_this_one_reads(workers, children):
    settings = {"flip": True, "roll": 2, "cutout": 3}
    loader = BatchLoader(workers, CPU)
    ahead = training(loader, **settings)
    loader.start()
    for start in (0, 2):  # the second from the middle of an epoch, by the same processes
        expected = list(training(**settings).epoch(3, start))
        for (frames, chosen), (alike, labels_alike) in zip(ahead.epoch(3, start), expected, strict=True):
            assert torch.equal(frames, alike) and torch.equal(chosen, labels_alike)
    loader.stop()
    evaluation = source_of(samples(), BatchLoader(workers, CPU)).evaluation(Cut(batch_size=4))
    assert [label for _, part in evaluation for label in part.tolist()] == list(range(23))
    assert children() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_that_are_not_there_are_named(workers, children):
    source = source_of(samples(), BatchLoader(workers, CPU)).training(Cut(batch_size=2, seed=1), np.array([0, 99]))
    with pytest.raises(DataError, match="index 99 is out of bounds"):
        list(source.epoch(0))
    assert children() == []


def test_a_file_that_has_lost_its_end_is_an_error_of_the_process_that_trains(tmp_path):
    counts = np.lib.format.open_memmap(tmp_path / "train.npy", "w+", np.uint8, (64, 3, 2, 32, 32))
    counts.flush()
    os.truncate(tmp_path / "train.npy", 4096)
    source = source_of(Samples(counts, np.arange(64)), BatchLoader(1, CPU)).training(Cut(batch_size=64, seed=1))
    with pytest.raises(RuntimeError, match=r"^DataLoader worker"):
        list(source.epoch(0))
