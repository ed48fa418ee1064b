"""MNIST from files in torchvision's layout, with few images."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rbp_engine.data.catalog import catalogued

COUNTS = {"train": 7, "t10k": 4}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def lay(folder: Path, packed: bool = False) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    arrays = {}
    for side, count in COUNTS.items():
        arrays[f"{side}-images-idx3-ubyte"] = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{side}-labels-idx1-ubyte"] = draw.integers(0, 10, count, dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        file = folder / (f"{name}.gz" if packed else name)
        file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return arrays


@pytest.mark.parametrize("packed", [False, True])
def test_compressed_and_plain_files_give_images_and_labels_in_order(tmp_path: Path, packed: bool) -> None:
    arrays = lay(tmp_path, packed)
    splits = catalogued("mnist").read(tmp_path)
    for images, side in ((splits.train, "train"), (splits.test, "t10k")):
        assert images.pixels.dtype == torch.uint8 and images.labels.dtype == torch.int64
        assert np.array_equal(images.pixels.squeeze(1).numpy(), arrays[f"{side}-images-idx3-ubyte"])
        assert images.labels.tolist() == arrays[f"{side}-labels-idx1-ubyte"].tolist()
    assert splits.train.pixels.shape == (7, 1, 28, 28)
    assert (splits.classes, splits.channels, splits.mean, splits.deviation) == (10, 1, (0.1307,), (0.3081,))
    assert catalogued("fashion_mnist").read(tmp_path).mean == (0.2860,)


def test_fashion_mnist_is_read_from_where_debians_package_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path / "datasets" / "fashion-mnist", packed=True)
    monkeypatch.chdir(tmp_path)
    for name, folder in {"XDG_DATA_DIRS": "", "RBP_CONFIG": "config", "XDG_CACHE_HOME": "cache"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    assert len(catalogued("fashion_mnist").load().train) == 7


def test_torchvision_reads_the_same_files(tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    lay(tmp_path / "MNIST" / "raw")
    theirs, ours = MNIST(str(tmp_path)), catalogued("mnist").read(tmp_path / "MNIST" / "raw")
    assert torch.equal(theirs.data, ours.train.pixels.squeeze(1))
    assert torch.equal(theirs.targets, ours.train.labels)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[:-1],
    "cut in its header": lambda content: content[:9],
    "too long": lambda content: content + b"\0",
    "a web page": lambda content: b"<html>404</html>",
    "of another type": lambda content: b"\0\0\x0d" + content[3:],
    "of other dimensions": lambda content: content[:3] + b"\x02" + content[4:],
}


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str, damage: str) -> None:
    lay(tmp_path)
    (tmp_path / name).write_bytes(DAMAGES[damage]((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match="is damaged") as caught:
        catalogued("mnist").read(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def corrupt(content: bytes) -> bytes:
    return content[:20] + bytes(byte ^ 0xFF for byte in content[20:])


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:-9], lambda content: b"<html>", corrupt]
)
def test_a_damaged_compressed_file_is_an_error_that_names_it(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    lay(tmp_path, packed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match="is damaged") as caught:
        catalogued("mnist").read(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("labels", [np.array([1, 2, 3]), np.array([0, 1, 2, 10])])
def test_labels_that_do_not_match_are_an_error_that_names_their_file(tmp_path: Path, labels: np.ndarray) -> None:
    lay(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is damaged"):
        catalogued("mnist").read(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    lay(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte"):
        catalogued("mnist").read(tmp_path)
