"""A cache of frames that training could not use does not load, whatever its manifest says; its narrow arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events import recorded
from rbp_engine.data.events.cache import load, seal, verify
from rbp_engine.data.events.narrow_array import write_narrowly
from tests.fuzz.recordings import device, pipe


@pytest.fixture
def cache(tmp_path):
    for part, count in (("train", 4), ("test", 2)):
        np.save(tmp_path / f"{part}.npy", np.arange(count * 3 * 2 * 5 * 5, dtype=np.uint8).reshape(count, 3, 2, 5, 5))
        np.save(tmp_path / f"{part}_labels.npy", np.arange(count))
    seal(tmp_path, {"scale": 1, "classes": 10})
    return tmp_path


def test_what_was_sealed_is_loaded_and_its_frames_stay_on_the_disk(cache):
    loaded = load(cache)
    assert isinstance(loaded.train.counts, np.memmap)
    assert loaded.train.counts.sum() == np.load(cache / "train.npy").sum()
    assert loaded.test.labels.tolist() == [0, 1] and loaded.test.scale == 1.0
    assert verify(cache) == []


def header(old: bytes, new: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new.ljust(len(old))))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a label that is no class": ("train_labels", lambda path: np.save(path, np.array([0, 1, 2, 255]))),
    "labels of another type": ("train_labels", lambda path: np.save(path, np.arange(4.0))),
    "fewer labels": ("train_labels", lambda path: np.save(path, np.arange(3))),
    "labels that are a pipe": ("train_labels", pipe),
    "frames that are a pipe": ("test", pipe),
    "frames that are a device": ("test", device),
    "no samples": ("test", lambda path: np.save(path, np.zeros((0, 3, 2, 5, 5), np.uint8))),
    "more frames than bytes": ("test", header(b"(2, 3, 2, 5, 5)", b"(2, 9, 2, 5, 5)")),
    "frames of other dimensions": ("test", header(b"(2, 3, 2, 5, 5)", b"(2, 3, 10, 5)")),
    "a shape that wraps to nothing": ("test", header(b"(2, 3, 2, 5, 5), }      ", b"(65536,65536,2**16), }")),
    "objects": ("test", header(b"|u1", b"|O8")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cache_that_cannot_be_used_does_not_load_and_is_named(cache, damage):
    name, change = DAMAGES[damage]
    change(cache / f"{name}.npy")
    if not (cache / f"{name}.npy").is_file():
        # As a manifest of somebody's own would have it.
        manifest = (cache / "manifest.json").read_text()
        for file in ("train_labels", "test"):
            size = {"train_labels": 160, "test": 428}[file]
            manifest = manifest.replace(f'"bytes": {size}', '"bytes": 0')
        (cache / "manifest.json").write_text(manifest)
    else:
        seal(cache, {"scale": 1, "classes": 10})
    assert load(cache) is None
    [problem] = verify(cache)
    assert str(cache) in problem and "convert again" in problem


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 255], [3, 4], [5, 6]], "uint8"),
        ([[0, 255], [256, 4], [5, 2048]], "float16"),
        ([[0, 255], [256, 4], [5, 2049]], "float32"),
        ([[1.0, 7.0], [0.5, 4.0], [5.25, 6.0]], "float16"),
        ([[1.5, 7.0], [2.0, 70000.0], [5.0, 6.0]], "float32"),
    ],
)
def test_the_narrowest_type_that_holds_all_samples_is_written(tmp_path, values, expected):
    kind = write_narrowly(tmp_path / "a.npy", 3, (2,), lambda number: np.array(values[number]))
    written = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert (written.dtype, kind) == (np.dtype(expected), expected)
    assert np.array_equal(written, np.array(values))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_conversion_that_runs_is_no_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "cache_directory", lambda: tmp_path)
    for name in ("nmnist-0123.building", "nmnist-4567"):
        (tmp_path / "events" / name).mkdir(parents=True)
    found = [problem for problem in CATALOG["nmnist"].problems(tmp_path) if "no finished conversion" in problem]
    assert len(found) == 1 and "nmnist-4567 is" in found[0]
