"""CIFAR and MNIST from files in the published layouts, with few images, which the catalogue takes for the published."""

import gzip
import hashlib
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from rbp_engine.data.catalog import CATALOG, DataSet, catalogued
from tests.bomb import Bomb

COUNT = 12
LABELS = {"cifar10": b"labels", "cifar100": b"fine_labels"}


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Writes the files of a set, of which these contents are then the published ones; the set's folder."""

    def write(name: str, contents: Mapping[str, bytes]) -> Path:
        files = tuple((file, hashlib.md5(content).hexdigest()) for file, content in contents.items())
        monkeypatch.setitem(cast(dict[str, DataSet], CATALOG), name, replace(CATALOG[name], files=files))
        for file, content in contents.items():
            (tmp_path / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
        return tmp_path

    return write


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def digits(suffix: str) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for side, count in (("train", 7), ("t10k", 4)):
        arrays[f"{side}-images-idx3-ubyte{suffix}"] = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{side}-labels-idx1-ubyte{suffix}"] = draw.integers(0, 10, count, dtype=np.uint8)
    return {name: idx(array) for name, array in arrays.items()}, arrays


def batches(name: str) -> dict[str, dict[bytes, Any]]:
    draw, classes = np.random.default_rng(0), CATALOG[name].classes
    return {
        file: {
            LABELS[name]: draw.integers(0, classes, COUNT).tolist(),
            b"data": draw.integers(0, 256, (COUNT, 3072), dtype=np.uint8),
        }
        for file, _ in CATALOG[name].files
    }


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifars_files_give_images_and_labels_in_their_order(known, name):
    contents = batches(name)
    folder = known(name, {file: pickle.dumps(batch, protocol=2) for file, batch in contents.items()})
    sides = catalogued(name).images(folder)
    *train, test, _ = contents.values()
    for images, expected in zip(sides, (train, [test]), strict=True):
        data = np.concatenate([batch[b"data"] for batch in expected])
        assert images.pixels.dtype == torch.uint8 and images.labels.dtype == torch.int64
        assert images.pixels.shape == (len(expected) * COUNT, 3, 32, 32)
        assert np.array_equal(images.pixels.flatten(1).numpy(), data)
        assert images.labels.tolist() == [label for batch in expected for label in batch[LABELS[name]]]
    # A row holds 1024 values of red, then green, then blue, by lines of the image.
    assert sides[0].pixels[3, 1, 2, 5] == train[0][b"data"][3, 1024 + 2 * 32 + 5]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnists_files_give_images_and_labels_packed_or_not(known, suffix):
    contents, arrays = digits(suffix)
    folder = known("mnist", contents)
    for images, side in zip(catalogued("mnist").images(folder), ("train", "t10k"), strict=True):
        assert images.pixels.dtype == torch.uint8 and images.labels.dtype == torch.int64
        assert np.array_equal(images.pixels.squeeze(1).numpy(), arrays[f"{side}-images-idx3-ubyte{suffix}"])
        assert images.labels.tolist() == arrays[f"{side}-labels-idx1-ubyte{suffix}"].tolist()


def test_a_pickle_that_would_execute_code_is_refused_before_it_is_read(known, tmp_path):
    contents = {file: pickle.dumps(batch) for file, batch in batches("cifar10").items()}
    folder = known("cifar10", contents)
    (folder / "data_batch_3").write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(ValueError, match="data_batch_3 is damaged or another version"):
        catalogued("cifar10").images(folder)
    assert not (tmp_path / "boom").exists()
    [problem] = catalogued("cifar10").problems(folder)
    assert "data_batch_3 is damaged or another version" in problem


def bomb() -> bytes:
    """Four gigabytes of zeros in four megabytes."""
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(bytes(16)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + zeros * 4096


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[:-9],
    "a web page": lambda content: b"<html>404</html>",
    "another content": lambda content: gzip.compress(struct.pack(">I", 7)),
    "corrupt": lambda content: content[:20] + bytes(byte ^ 0xFF for byte in content[20:]),
    "gigabytes": lambda content: bomb(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_an_error_that_names_it(known, damage):
    contents, _ = digits(".gz")
    file = known("mnist", contents) / "train-images-idx3-ubyte.gz"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(ValueError, match="is damaged") as caught:
        catalogued("mnist").images(file.parent)
    assert str(file) in str(caught.value)


def test_what_is_no_file_is_refused_and_not_waited_for_and_a_missing_file_is_named(known):
    contents, _ = digits("")
    file = known("mnist", contents) / "t10k-labels-idx1-ubyte"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ValueError, match=f"{file} cannot be read: a named pipe, not a file"):
        catalogued("mnist").images(file.parent)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        catalogued("mnist").images(file.parent)
    with file.open("wb") as endless:
        endless.truncate(2**40)
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        catalogued("mnist").images(file.parent)
