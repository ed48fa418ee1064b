"""N-MNIST: what is in its bytes, and a run on it."""

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.conversion import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.preset import load_preset
from tests.fuzz.recordings import problems_of
from tests.recorded_sets import EVENTS, drawn, packed, write_nmnist, write_nmnist_small

NMNIST = CATALOG["nmnist"]
assert isinstance(NMNIST, RecordedSet)
FIRST = drawn(0, 1, side=34)


def test_a_run_trains_on_it_by_its_preset(tmp_path, config, open_data):
    write_nmnist_small(tmp_path / "set")
    with (config / "machine.toml").open("a") as file:
        file.write(f"[data]\nnmnist_small = '{tmp_path / 'set'}'\n")
    feed = open_data(3, **load_preset("nmnist-small", ["batch=8"]).preset.data.model_dump())
    frames, labels = next(feed.train.epoch(0))
    assert frames.shape == (3, 8, 2, 34, 34) and labels.shape == (8,)
    assert frames.sum() == 8 * EVENTS
    assert feed.class_names == tuple("0123456789")


def test_a_time_that_has_run_over_goes_on(tmp_path):
    root = tmp_path / "set"
    write_nmnist(root, "bin")
    file = root / "Train" / "0" / "00001.bin"
    t, x, y, p = FIRST
    marker = bytes([0, 240, 0, 0, 0])
    early = packed(t[:60], x[:60], y[:60], p[:60])
    file.write_bytes(early + marker * 50 + packed(np.maximum(t[60:] - 50 * 8192, 0), x[60:], y[60:], p[60:]))
    assert problems_of(NMNIST, root) == []


def test_each_damaged_recording_is_named_and_nothing_is_kept(tmp_path):
    root = tmp_path / "set"
    write_nmnist(root, "bin")
    t, x, y, p = FIRST
    bad = {
        "Train/0/00001.bin": (packed(t, x, y, p)[:-1], "is truncated (599 bytes, 5 for each event)"),
        "Train/1/00002.bin": (b"", "is truncated (0 bytes"),
        "Train/2/00003.bin": (packed(t, np.where(x == x.max(), 34, x), y, p), "the column 34, expected 0 to 33"),
        "Test/3/60004.bin": (packed(t, x, np.where(y == y.max(), 200, y), p), "the row 200, expected 0 to 33"),
        "Test/4/60005.bin": (packed(t[::-1], x, y, p), f"its time runs backwards, from {t[-1]} to {t[-2]} µs"),
        "Test/5/60006.bin": (packed(t[:1], x[:1], y[:1], p[:1]), "1 events cannot fill 4 timesteps"),
    }
    for name, (content, _) in bad.items():
        (root / name).write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        NMNIST.convert(root, tmp_path / "frames", FrameSettings(4, size=34))
    for (name, (_, reason)), problem in zip(bad.items(), caught.value.problems, strict=True):
        assert problem.startswith(f"{root / name} ") and reason in problem and "\n" not in problem
    assert list((tmp_path / "frames").glob("*/")) == []
    assert len(NMNIST.check([root])) == len(bad) + 2 - 1  # one event fills one frame; two parts have gaps
