"""A run to pack, made without torch, and an archive of it that a test changes."""

import io
import os
import shutil
import struct
import warnings
import zipfile
from pathlib import Path

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.pack.archive import name_problem
from tests.run_files import create_own

#: The bytes of an entry in the directory before its name; where its flags, method, sizes and place stand in it.
ENTRY, FLAGS, METHOD, PACKED, SIZE, PLACE = 46, 8, 10, 20, 24, 42
WEIGHTS = (2).to_bytes(8, "little") + b"{}" + bytes(1000)


def torch_file(pickled: bytes, compression: int = zipfile.ZIP_STORED, beside: str = "") -> bytes:
    """A file as torch.save writes it; with the pickle once more `beside` it, under this name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(64))
        if beside:
            archive.writestr(f"archive/{beside}", pickled)
    return content.getvalue()


def torch_file_of_entries(count: int) -> bytes:
    """A file of nothing but the directory of an archive of zip, with so many entries of 47 bytes."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    size = count * len(entry)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return entry * count + end + locator + tail


TENSORS = b"\x80\x02ccollections\nOrderedDict\n)R."


def make_run_to_pack(folder: Path) -> RunDirectory:
    """A completed run with own code, two checkpoints, the newer of which is the best, and what its processes left."""
    run = create_own(folder, folder / "runs")
    write_status(run, "completed")
    for number, name in enumerate(("step-00000005", "step-00000010")):
        (run.checkpoints / name).mkdir()
        (run.checkpoints / name / "model.safetensors").write_bytes(WEIGHTS + bytes([number]))
        (run.checkpoints / name / "optimizer.pt").write_bytes(torch_file(TENSORS))
        (run.checkpoints / name / "manifest.json").write_text("{}")
    shutil.copytree(run.checkpoints / "step-00000010", run.checkpoints / "best", copy_function=os.link)
    (run.checkpoints / "step-00000015.tmp").mkdir()
    (run.checkpoints / "step-00000015.tmp" / "model.safetensors").write_bytes(b"half")
    for name in ("stop", "reserve"):
        (run.control / name).write_text("{}")
    (run.code / "__pycache__").mkdir()
    (run.code / "__pycache__" / "nets.pyc").write_bytes(b"x")
    return run


def files_of(run: RunDirectory) -> dict[str, bytes]:
    return {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


class Archive:
    """A packed run, of which a test makes a hostile one: its files, and fields of its directory."""

    def __init__(self, run: RunDirectory) -> None:
        self.id = run.id
        self.contents = {name: text for name, text in files_of(run).items() if not name_problem(name)}
        self.contents = {name: text for name, text in self.contents.items() if "tmp" not in name and "pyc" not in name}
        self.entries = [(f"{self.id}/{name}", text) for name, text in self.contents.items()]
        self.compression = zipfile.ZIP_STORED
        self.fields: list[tuple[str, int, bytes]] = []

    def list(self, name: str, text: bytes = b"x") -> None:
        """Add a file."""
        self.entries.append((f"{self.id}/{name}", text))

    def put(self, name: str, text: bytes) -> None:
        """Give a file other contents."""
        self.entries = [(known, text if known == f"{self.id}/{name}" else was) for known, was in self.entries]

    def say(self, name: str, at: int, value: bytes) -> None:
        """Put a value at a place in the entry that a file has in the directory."""
        self.fields.append((name, at, value))

    def write(self, path: Path) -> Path:
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", self.compression) as archive:
            warnings.simplefilter("ignore")  # of two files of one name
            for name, text in self.entries:
                archive.writestr(name, text)
        content = bytearray(path.read_bytes())
        for name, at, value in self.fields:
            place = content.rindex(f"{self.id}/{name}".encode()) - ENTRY + at
            content[place : place + len(value)] = value
        path.write_bytes(content)
        return path
