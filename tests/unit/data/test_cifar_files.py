"""CIFAR from files in the real layout, with few images."""

import codecs
import io
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from rbp_engine.data.catalog import CATALOG, catalogued

COUNT = 12
LABELS = {"cifar10": "labels", "cifar100": "fine_labels"}
Dump = Callable[[dict[str, Any]], bytes]


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 with its numpy wrote, as in the published files: byte strings, numpy.core, protocol 2."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_str(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        if not self.bin:  # type: ignore[attr-defined]
            self.write(pickle.STRING + repr(data)[1:].encode() + b"\n")  # type: ignore[attr-defined]
            self.memoize(value)  # type: ignore[attr-defined]
            return
        short = pickle.SHORT_BINSTRING + struct.pack("<B", len(data)) if len(data) < 256 else b""
        self.write(short + data if short else pickle.BINSTRING + struct.pack("<i", len(data)) + data)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[str] = dispatch[bytes] = save_str

    def save_global(self, value: Any, name: str | None = None) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__qualname__}\n".encode())  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        # numpy reduces to functions, which the dispatch table knows by a type of their own.
        if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
            self.save_global(value)
        else:
            super().save(value, save_persistent_id)  # type: ignore[misc]


def python2(batch: dict[str, Any], protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=protocol).dump(batch)
    return stream.getvalue()


def by_default(batch: dict[str, Any]) -> bytes:
    """In Python 2's default protocol, where byte strings are written as text is."""
    return python2(batch, protocol=0)


def python3(protocol: int) -> Dump:
    """As somebody converts it: keys that are bytes, written by today's numpy."""
    return lambda batch: pickle.dumps({key.encode(): value for key, value in batch.items()}, protocol)


def batch(number: int, classes: int, labels: str) -> dict[str, Any]:
    draw = np.random.default_rng(number)
    return {
        "batch_label": f"training batch {number}",
        labels: draw.integers(0, classes, COUNT).tolist(),
        "data": draw.integers(0, 256, (COUNT, 3072), dtype=np.uint8),
        "filenames": [f"image_{index}.png" for index in range(COUNT)],
    }


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("RBP_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def lay(root: Path, name: str, dump: Dump = python2) -> tuple[Path, list[dict[str, Any]]]:
    """Write all files of the set; its folder, and the content of the files in their order."""
    entry = CATALOG[name]
    folder = root / entry.folder
    folder.mkdir(parents=True)
    contents = [batch(number, entry.classes, LABELS[name]) for number, _ in enumerate(entry.files)]
    for content, (file_name, _) in zip(contents, entry.files, strict=True):
        (folder / file_name).write_bytes(dump(content))
    return folder, contents


def test_the_python_2_pickler_writes_what_the_published_files_hold() -> None:
    written = python2(batch(0, 10, "labels"))
    assert written.startswith(b"\x80\x02")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in written and b"numpy._core" not in written
    again = pickle.loads(written, encoding="bytes")
    assert np.array_equal(again[b"data"], batch(0, 10, "labels")["data"])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("dump", [python2, by_default, *map(python3, (1, 2, 3, 4, 5))], ids=["python2", "0", *"12345"])
def test_files_of_the_real_layout_give_images_and_labels_in_the_order_of_the_files(
    root: Path, name: str, dump: Dump
) -> None:
    _, contents = lay(root, name, dump)
    splits = catalogued(name).load()
    train = contents[:5] if name == "cifar10" else contents[:1]
    test = contents[5:6] if name == "cifar10" else contents[1:2]
    for images, expected in ((splits.train, train), (splits.test, test)):
        data = np.concatenate([content["data"] for content in expected])
        assert images.pixels.dtype == torch.uint8
        assert images.pixels.shape == (len(expected) * COUNT, 3, 32, 32)
        assert np.array_equal(images.pixels.flatten(1).numpy(), data)
        assert images.labels.tolist() == [label for content in expected for label in content[LABELS[name]]]
    # A row holds 1024 values of red, then green, then blue, by lines of the image.
    assert splits.train.pixels[3, 1, 2, 5] == train[0]["data"][3, 1024 + 2 * 32 + 5]
    assert splits.classes == CATALOG[name].classes


@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    ],
)
def test_normalisation_is_that_of_the_paper(
    root: Path, name: str, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> None:
    lay(root, name)
    splits = catalogued(name).load()
    assert (splits.mean, splits.deviation) == (mean, deviation)


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["alone", "data", "labels", "beside"])
def test_a_file_that_would_execute_code_executes_nothing_and_is_an_error_that_names_it(
    root: Path, tmp_path: Path, place: str
) -> None:
    folder, contents = lay(root, "cifar10")
    bomb = Bomb(tmp_path / "boom")
    content: Any = {key.encode(): value for key, value in contents[2].items()} | {place.encode(): bomb}
    (folder / "data_batch_3").write_bytes(pickle.dumps(bomb if place == "alone" else content))
    with pytest.raises(ValueError, match=r"data_batch_3 is damaged .*posix\.mkdir"):
        catalogued("cifar10").load()
    assert not (tmp_path / "boom").exists()
    pickle.loads((folder / "data_batch_3").read_bytes())
    assert (tmp_path / "boom").exists(), "the bomb is none: it does not go off where everything is executed"


class Described:
    """Pickled as a call and a state of one's choice."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


UINT8 = np.dtype(np.uint8)
RECONSTRUCT = np.zeros(1).__reduce__()[0]


def described(shape: Any = (COUNT, 3072), kind: Any = UINT8, content: Any = bytes(COUNT * 3072), **more: Any) -> bytes:
    """A batch whose images are what an array of numpy says of itself, whether that is true or not."""
    array = Described(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, shape, kind, False, content))
    return pickle.dumps({b"labels": [0] * COUNT} | more | {b"data": array}, protocol=2)


def kind_of_objects(name: str, offset: int) -> Described:
    """A type with a field of objects: numpy takes the bytes of its arrays there, wherever that is, for pointers."""
    raw_bytes_will_do = 61
    fields = {"x": (np.dtype(object), offset)}
    return Described(np.dtype, (name, False, True), (3, "|", None, ("x",), fields, 8, 1, raw_bytes_will_do))


def doubled(times: int = 60) -> Any:
    """A tuple of two tuples of two tuples …: small, and endless for what looks at each."""
    pair: Any = ()
    for _ in range(times):
        pair = (pair, pair)
    return pair


def as_key(key: Any) -> bytes:
    inside = pickle.dumps(key, protocol=2)[2:-1]
    return pickle.PROTO + b"\2" + pickle.EMPTY_DICT + inside + pickle.NONE + pickle.SETITEM + pickle.STOP


def many_times_the_same_bytes() -> bytes:
    text = "a" * 2**20
    return described(more=[Described(codecs.encode, (text, "latin1")) for _ in range(4096)])


HOSTILE: dict[str, Callable[[], bytes]] = {
    "objects over raw bytes": lambda: described((COUNT,), kind_of_objects("V8", 0), b"A" * 8 * COUNT),
    "objects at an offset": lambda: described((COUNT,), kind_of_objects("V8", -(2**30)), b"A" * 8 * COUNT),
    "more pixels than bytes": lambda: described(content=bytes(10)),
    "a shape beyond any memory": lambda: described((2**62, 4), content=b""),
    "a negative shape": lambda: described((-COUNT, -3072)),
    "an array that is never filled": lambda: pickle.dumps(
        {b"data": Described(RECONSTRUCT, (np.ndarray, (2**40,), b"b")), b"labels": [0]}
    ),
    "bytes by a slow codec": lambda: described(more=Described(codecs.encode, ("ä" * 1_000_000, "punycode"))),
    "bytes by the same text": many_times_the_same_bytes,
    "a key that takes for ever to hash": lambda: as_key(doubled()),
    "a shape that takes for ever to say": lambda: described(doubled()),
    "a codec that takes for ever to say": lambda: described(more=Described(codecs.encode, ("a", doubled()))),
    "keys that collide": lambda: pickle.dumps({number * (2**61 - 1): None for number in range(1, 4000)}),
    "ten million lists": lambda: pickle.EMPTY_LIST * 10_000_000,
    "thirty million arguments": lambda: (
        b"cnumpy\nndarray\n" + pickle.BINBYTES + struct.pack("<I", 30_000_000) + bytes(30_000_000) + pickle.REDUCE
    ),
    "a byte array of 3 GB": lambda: pickle.BYTEARRAY8 + struct.pack("<Q", 3 * 2**30),
    "larger than any": lambda: bytes(65 * 2**20),
    # In C, the unpickler makes room for twice as many objects as this one's number, which is 2**28: 4 GB.
    "room for many objects": lambda: b"\x80\x02]r\xff\xff\xff\x0f.",
}
HARMLESS: dict[str, Callable[[], bytes]] = {
    "whole": described,
    "bytes whose type says more of itself": lambda: described(kind=kind_of_objects("u1", 0)),
}


# Reads the files that it is given, each with 5 seconds of the processor and 1 GB more than it had when it began.
READER = """
import resource, sys
from pathlib import Path
from rbp_engine.data.readers.cifar import _read

size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, -1))
for path in sys.argv[1:]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 5, -1))
    try:
        print("read", path, _read(Path(path), b"labels", 10, 2**26)[0].shape)
    except ValueError as error:
        print(error)
"""


def test_a_hostile_file_takes_neither_the_process_nor_its_time_nor_its_memory(tmp_path: Path) -> None:
    files = {tmp_path / name.replace(" ", "-"): content for name, content in (HOSTILE | HARMLESS).items()}
    for file, content in files.items():
        file.write_bytes(content())
    words = [sys.executable, "-c", READER, *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180)
    told = [re.split(r" \(| cannot be read", line)[0] for line in done.stdout.splitlines()]
    refused, read = list(files)[: len(HOSTILE)], list(files)[len(HOSTILE) :]
    whole = [f"{file}{'' if file.name == 'larger-than-any' else ' is damaged'}" for file in refused]
    assert told == whole + [f"read {file}" for file in read]
    assert (done.returncode, done.stderr) == (0, "")


def changed(**changes: Any) -> Callable[[bytes], bytes]:
    def change(written: bytes) -> bytes:
        content = pickle.loads(written, encoding="bytes")
        return pickle.dumps(content | {key.encode(): value for key, value in changes.items()})

    return change


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda written: b"",
    "truncated": lambda written: written[: len(written) // 2],
    "without its last byte": lambda written: written[:-1],
    "a web page": lambda written: b"<html>404</html>",
    "no dictionary": lambda written: pickle.dumps([1, 2]),
    "keys that are text": lambda written: pickle.dumps(pickle.loads(written, encoding="latin1")),
    "too few labels": changed(fine_labels=[1]),
    "labels that are no numbers": changed(fine_labels=["cat"] * COUNT),
    "a label that is no class": changed(fine_labels=[100] * COUNT),
    "images of another size": changed(data=np.zeros((COUNT, 784), dtype=np.uint8)),
    "images of another type": changed(data=np.zeros((COUNT, 3072), dtype=np.float64)),
    "no images": changed(data=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_an_error_that_names_it(root: Path, damage: str) -> None:
    folder, _ = lay(root, "cifar100")
    (folder / "test").write_bytes(DAMAGES[damage]((folder / "test").read_bytes()))
    with pytest.raises(ValueError) as caught:
        catalogued("cifar100").load()
    assert str(folder / "test") in str(caught.value) and "is damaged" in str(caught.value)


def test_what_is_no_file_is_refused_and_not_waited_for(root: Path) -> None:
    folder, _ = lay(root, "cifar100")
    for kind, make in (("a named pipe", os.mkfifo), ("a device", lambda path: path.symlink_to("/dev/zero"))):
        (folder / "test").unlink()
        make(folder / "test")
        with pytest.raises(ValueError, match=f"{folder / 'test'} cannot be read: {kind}, not a file"):
            catalogued("cifar100").read(folder)
    (folder / "test").unlink()
    (folder / "test").symlink_to("test")
    with pytest.raises(OSError, match="symbolic links"):
        catalogued("cifar100").read(folder)
