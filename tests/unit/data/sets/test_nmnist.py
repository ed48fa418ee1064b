"""N-MNIST from files with the bytes of each layout, with two short recordings of each digit."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.conversion import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.data.open_feed import open_feed
from rbp_engine.errors import DataError
from rbp_engine.preset import load_preset
from tests.fuzz.recordings import broken_promises, problems_of

LAYOUTS = ("bin", "extracted", "npz")
PARTS = {"Train": 1, "Test": 60001}
EVENTS = 120


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "machine.toml").write_text(f"cache = '{tmp_path / 'cache'}'\n")
    monkeypatch.setenv("RBP_CONFIG", str(folder))
    return folder


def the_set(name: str) -> RecordedSet:
    found = CATALOG[name]
    assert isinstance(found, RecordedSet)
    return found


def events_of(label: int, number: int) -> tuple[np.ndarray, ...]:
    """Times, columns, rows and polarities."""
    draw = np.random.default_rng([label, number])
    # Asymmetric on purpose: every wrong orientation gives different frames.
    x, y, p = draw.integers(0, 20, EVENTS), draw.integers(10, 34, EVENTS), draw.integers(0, 2, EVENTS)
    return np.sort(draw.integers(0, 300_000, EVENTS)), x, y, p


def packed(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    """40 bits an event."""
    return b"".join(
        bytes([column, row, polarity << 7 | time >> 16, time >> 8 & 255, time & 255])
        for time, column, row, polarity in zip(*(values.tolist() for values in (t, x, y, p)), strict=True)
    )


def write(root: Path, layout: str) -> Path:
    for part, first in PARTS.items():
        files = {}
        for label in range(10):
            for number in (first + label, first + 10 + label):
                name, events = f"{label}/{number:05}", events_of(label, number)
                if layout == "npz":
                    stream = io.BytesIO()
                    np.savez(stream, **dict(zip("txyp", events, strict=True)))
                    files[f"events_np/{part.lower()}/{name}.npz"] = stream.getvalue()
                else:
                    files[f"{'extract/' if layout == 'extracted' else ''}{part}/{name}.bin"] = packed(*events)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return root


def write_small(root: Path) -> Path:
    root.mkdir(parents=True)
    for name, first in (("train1K.txt", 1), ("test100.txt", 60001)):
        lines = ["#sample #class"]
        for number in range(first, first + 20):
            label = number * 7 % 10
            (root / f"{number}.bs2").write_bytes(packed(*events_of(label, number)))
            lines.append(f"{number}\t{label}")
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def frames_of(events: tuple[np.ndarray, ...], timesteps: int) -> np.ndarray:
    frames = np.zeros((timesteps, 2, 34, 34), np.int64)
    share = EVENTS // timesteps
    for place, (_, x, y, p) in enumerate(zip(*(values.tolist() for values in events), strict=True)):
        frames[min(place // share, timesteps - 1), p, y, x] += 1
    return frames


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_recording_gives_the_same_frames_from_every_layout(tmp_path, layout):
    root = write(tmp_path / "set", layout)
    done = the_set("nmnist").convert(root, tmp_path / "frames", FrameSettings(4, size=34))
    for part, first in ((done.train, PARTS["Train"]), (done.test, PARTS["Test"])):
        assert part.labels.tolist() == [label for label in range(10) for _ in range(2)]
        expected = [
            frames_of(events_of(label, number), 4)
            for label in range(10)
            for number in (first + label, first + 10 + label)
        ]
        assert np.array_equal(part.counts, np.stack(expected))
    assert any("20 recordings, not 60000" in remark for remark in done.manifest["remarks"])


def test_the_small_set_is_what_its_lists_say(tmp_path):
    done = the_set("nmnist_small").convert(
        write_small(tmp_path / "set"), tmp_path / "frames", FrameSettings(4, size=34)
    )
    for part, first in ((done.train, 1), (done.test, 60001)):
        labels = [number * 7 % 10 for number in range(first, first + 20)]
        assert part.labels.tolist() == labels
        expected = [frames_of(events_of(label, first + place), 4) for place, label in enumerate(labels)]
        assert np.array_equal(part.counts, np.stack(expected))


def test_it_is_found_in_its_own_folder_and_in_the_one_above(tmp_path):
    root = write(tmp_path / "NMNIST", "bin")
    assert the_set("nmnist").find([root]).path == the_set("nmnist").find([tmp_path]).path == root
    elsewhere = root.rename(tmp_path / "downloads")
    assert the_set("nmnist").find([elsewhere]).path == elsewhere
    nowhere = the_set("nmnist").find([tmp_path / "nowhere"])
    assert not nowhere.found and "garrickorchard" in nowhere.remedy


def test_a_run_trains_on_it_by_its_preset(tmp_path, config):
    write_small(tmp_path / "set")
    with (config / "machine.toml").open("a") as file:
        file.write(f"[data]\nnmnist_small = '{tmp_path / 'set'}'\n")
    preset = load_preset("nmnist-small", ["T=3", "batch=8"]).preset
    feed = open_feed(preset.data, timesteps=3, seed=1, held_out=0.0, device=torch.device("cpu"))
    frames, labels = next(feed.train.epoch(0))
    assert frames.shape == (3, 8, 2, 34, 34) and labels.shape == (8,)
    assert frames.sum() == 8 * EVENTS
    assert feed.class_names == tuple("0123456789")


def test_a_time_that_has_run_over_goes_on(tmp_path):
    root = write(tmp_path / "set", "bin")
    file = root / "Train" / "0" / "00001.bin"
    t, x, y, p = events_of(0, 1)
    marker = bytes([0, 240, 0, 0, 0])
    early = packed(t[:60], x[:60], y[:60], p[:60])
    file.write_bytes(early + marker * 50 + packed(np.maximum(t[60:] - 50 * 8192, 0), x[60:], y[60:], p[60:]))
    assert problems_of(the_set("nmnist"), root) == []


def test_each_damaged_recording_is_named_and_nothing_is_kept(tmp_path):
    root = write(tmp_path / "set", "bin")
    t, x, y, p = events_of(0, 1)
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
        the_set("nmnist").convert(root, tmp_path / "frames", FrameSettings(4, size=34))
    for (name, (_, reason)), problem in zip(bad.items(), caught.value.problems, strict=True):
        assert problem.startswith(f"{root / name} ") and reason in problem and "\n" not in problem
    assert list((tmp_path / "frames").glob("*/")) == []
    assert len(the_set("nmnist").check([root])) == len(bad) + 2 - 1  # one event fills one frame; two parts have gaps


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("1 5\n1 6\n", "line 2 is not a recording and its digit, once"),
        ("../../etc/passwd 5\n", "line 1 is not a recording"),
        ("1 11\n", "line 1 is not a recording"),
        ("#sample #class\n", "lists no recording"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, index, message):
    root = write_small(tmp_path / "set")
    (root / "train1K.txt").write_text(index)
    with pytest.raises(DataError, match=message):
        the_set("nmnist_small").convert(root, tmp_path / "frames", FrameSettings(4, size=34))


@pytest.mark.parametrize("layout", ["bin", "small"])
def test_whatever_bytes_are_changed_a_recording_is_read_or_named(tmp_path, layout):
    name = "nmnist_small" if layout == "small" else "nmnist"
    root = write_small(tmp_path / "whole") if layout == "small" else write(tmp_path / "whole", layout)
    assert problems_of(the_set(name), root) == []
    assert broken_promises(the_set(name), root) == []
