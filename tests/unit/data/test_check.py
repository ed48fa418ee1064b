"""`data check` finds what training would refuse, in the files that training reads."""

import gzip
import hashlib
import os
import struct
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG, DataSet, catalogued

SIZES = {"train": 7, "t10k": 5}


def idx(*shape: int, value: int = 0) -> bytes:
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + bytes([value]) * int(np.prod(shape))


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """MNIST of twelve images, packed, which the catalogue knows as the whole one."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    files = []
    for side, count in SIZES.items():
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            path = folder / f"{side}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx(*shape)))
            files.append((path.name, hashlib.md5(idx(*shape)).hexdigest()))
    entry = replace(CATALOG["mnist"], files=tuple(files))
    monkeypatch.setitem(cast(dict[str, DataSet], CATALOG), "mnist", entry)
    return folder


def test_packed_files_also_anew_unpacked_ones_and_both_are_whole(mnist):
    root = mnist.parent.parent
    assert catalogued("mnist").check([root]) == []
    for path in mnist.glob("*.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=7))
    assert catalogued("mnist").check([root]) == []
    for path in mnist.glob("t10k*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    assert catalogued("mnist").check([root]) == []
    for path in mnist.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert catalogued("mnist").check([root]) == []


def test_an_unpacked_file_that_training_reads_is_looked_into_beside_its_whole_archive(mnist):
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(5, value=3))
    [found] = catalogued("mnist").check([mnist.parent.parent])
    assert "is damaged or another version" in found and str(mnist / "t10k-labels-idx1-ubyte ") in found


def test_what_is_no_file_is_named_and_nothing_waits_for_it(tmp_path, mnist):
    os.mkfifo(mnist / "t10k-labels-idx1-ubyte")
    (mnist / "train-images-idx3-ubyte").symlink_to("/dev/zero")
    pipe, device = sorted(catalogued("mnist").check([mnist.parent.parent]))
    assert pipe.startswith(f"{mnist / 't10k-labels-idx1-ubyte'} cannot be read: a named pipe")
    assert device.startswith(f"{mnist / 'train-images-idx3-ubyte'} cannot be read: a device")
    folder = tmp_path / CATALOG["cifar100"].folder
    folder.mkdir()
    for name in ("train", "test", "meta"):
        with (folder / name).open("wb") as file:
            file.truncate(2**40)
    problems = catalogued("cifar100").check([folder])
    assert len(problems) == 3 and all("cannot be read: larger than 256 MiB" in problem for problem in problems)


def test_a_package_without_the_file_or_with_a_damaged_one_is_named(tmp_path, monkeypatch):
    package = tmp_path / "packed"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    entry = replace(CATALOG["digits"], module="packed", file="digits.csv")
    assert ["packed" in problem and "has no digits.csv" in problem for problem in entry.check()] == [True]
    (package / "digits.csv").write_text("1,x\n")
    assert [f"{package}/digits.csv is damaged" in problem for problem in entry.check()] == [True]
    (package / "digits.csv").write_text("1,2,3\n")
    assert ["the shape (1, 3), expected (1797, 65)" in problem for problem in entry.check()] == [True]
