"""`data check` finds what training would refuse, in the files that training reads."""

import gzip
import hashlib
import io
import os
import struct
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG, DataSet, catalogued
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES

SIZES = {"train": 7, "t10k": 5}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text(f"cache = '{tmp_path / 'cache'}'\n")
    return tmp_path


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


def event_file(layout: int) -> bytes:
    if layout == 1:
        return b"#!AER-DAT2.0\r\n" + bytes(80)
    stream = io.BytesIO()
    np.savez(stream, **dict.fromkeys("txyp", np.zeros(9, np.int64)))
    return stream.getvalue()


@pytest.fixture(params=[1, 3])
def recordings(request, tmp_path):
    """A set of events in a layout: its root, and its files."""
    layout, root = request.param, tmp_path / "cifar10_dvs"
    inside, suffix = {1: (root, "aedat"), 3: (root / "events_np", "npz")}[layout]
    files = [inside / name / f"cifar10_{name}_{number}.{suffix}" for name in CLASSES for number in (0, 1, 900)]
    for folder in {file.parent for file in files}:
        folder.mkdir(parents=True)
    files[0].write_bytes(event_file(layout))
    for file in files[1:]:
        file.hardlink_to(files[0])
    return root, files


def but_for_gaps(problems: list[str]) -> list[str]:
    return [problem for problem in problems if "of 1000 recordings are missing" not in problem]


def test_a_set_of_events_is_whole_where_each_file_begins_as_a_recording(recordings):
    root, _ = recordings
    assert but_for_gaps(catalogued("cifar10_dvs").check([root])) == []


def test_recordings_that_are_missing_or_are_none_are_named(recordings):
    root, files = recordings
    whole = files[3].read_bytes()
    for file, content in ((files[3], b""), (files[4], whole[:-1]), (files[5], b"<html>404</html>")):
        file.unlink()
        file.write_bytes(content)
    files[6].unlink()
    os.mkfifo(files[6])
    files[7].unlink()
    files[7].symlink_to(files[7].name)
    problems = catalogued("cifar10_dvs").check([root])
    assert len(problems) - len(but_for_gaps(problems)) == len(CLASSES)
    problems = sorted(but_for_gaps(problems))
    assert [str(file) in problem for file, problem in zip(files[3:8], problems, strict=True)] == [True] * 5
    assert "a named pipe" in problems[3] and "symbolic links" in problems[4]
    for file in files:
        if file.parent == files[-1].parent:
            file.unlink()
    [problem] = catalogued("cifar10_dvs").check([root])
    assert str(files[-1].parent) in problem and ("has no" in problem or "holds no" in problem)


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
