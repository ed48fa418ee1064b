"""The shapes and sizes of data sets that need not be present."""

import pytest
import torch

from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.bench.measure.stand_in import batches, with_stand_in
from rbp_engine.bench.measure.step import Side
from rbp_engine.data.open_feed import known_shape, open_feed
from rbp_engine.errors import SettingsError
from rbp_engine.preset import load_preset
from rbp_engine.preset.schema import Preset
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.train.build import build_feed

CPU = torch.device("cpu")
FEW = """
import torch
from rbp_engine.data.splits import DataSplits, Images
def few():
    images = Images(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10))
    return DataSplits(images, images, 10, (0.5,), (0.5,))
"""


@pytest.mark.parametrize(
    ("name", "held_out"), [("digits", 0.0), ("digits", 0.2), ("moving-digits", 0.2), ("sequential-digits", 0.0)]
)
def test_a_stand_in_has_the_shape_and_the_counts_of_the_real_data(name, held_out):
    loaded = load_preset(name, [f"train.validation_split={held_out}"])
    shape = known_shape(loaded.preset.data)
    with temporary_run(loaded) as run:
        real = build_feed(run, loaded.preset, CPU)
        made = build_feed(run, with_stand_in(loaded.preset, shape), CPU)
    assert batches(loaded.preset, shape) == (len(real.train), sum(1 for _ in real.validation))
    assert (made.classes, made.preprocess.channels) == (real.classes, real.preprocess.channels)
    for images, expected in zip(next(made.train.epoch(0)), next(real.train.epoch(0)), strict=True):
        assert (images.shape, images.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize(
    ("args", "size"), [({}, 0), ({"frames": True}, 16), ({"frames": False, "shape": [1, 5, 7], "train_size": 40}, 16)]
)
def test_what_is_measured_of_random_images_is_what_a_run_gets(args, size):
    data = DataSection(name="fake", batch_size=8, size=size, args=args)
    shape = known_shape(data)
    feed = open_feed(data, timesteps=2, seed=0, held_out=0.0, device=CPU)
    images, _ = next(feed.train.epoch(0))
    assert (shape.frames, shape.image) == (feed.has_time, tuple(images.shape[-3:]))
    assert batches(Preset(data=data), shape) == (len(feed.train), len(feed.test))


@pytest.mark.parametrize(("epochs", "kernel"), [(1, "auto"), (300, "compiled")])
def test_a_stand_in_of_a_long_run_is_compiled_as_the_run_would_be(epochs, kernel):
    loaded = load_preset("digits", [f"epochs={epochs}"])
    shape = known_shape(loaded.preset.data)
    assert with_stand_in(loaded.preset, shape).train.kernel == kernel


def test_data_with_fewer_images_than_a_batch_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FEW)
    loaded = load_preset("digits", ["data=own.py:few", "batch=640", "T=1"])
    with temporary_run(loaded) as run, pytest.raises(SettingsError, match="640 is more than the 10 training samples"):
        Side(run, loaded.preset, "ours", CPU)
