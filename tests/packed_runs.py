"""A run to pack, made without torch, and an archive of it that a test changes."""

import hashlib
import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from rbp_engine.preset import load_preset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.pack.manifest import name_problem
from rbp_engine.run.pack.packing import member

WEIGHTS = (2).to_bytes(8, "little") + b"{}" + bytes(1000)


def header(name: str, size: int) -> bytes:
    """The header of a member, as it is written."""
    return member(name, size).tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What follows the contents of a member up to the next one."""
    return bytes(-size % tarfile.BLOCKSIZE)


def torch_file(pickled: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file as torch.save writes it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(64))
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
    (folder / "nets.py").write_text("class Net:\n    pass\n")
    (folder / "own.toml").write_text('extends = "digits"\nmodel.name = "nets.py:Net"\n')
    run = launch.create(load_preset(str(folder / "own.toml")), folder / "runs", run_id="own")
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
    """An archive of the run, of which a test makes a hostile one: its manifest and its members, as they are written."""

    def __init__(self, run: RunDirectory) -> None:
        self.id = run.id
        self.contents = {name: text for name, text in files_of(run).items() if not name_problem(name)}
        self.contents = {name: text for name, text in self.contents.items() if "tmp" not in name and "pyc" not in name}
        self.listed: list[dict[str, Any]] = [
            {"name": name, "size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
            for name, text in self.contents.items()
        ]
        self.head: dict[str, Any] = {"schema": 1, "id": self.id, "weights": "all"}
        self.manifest: bytes | None = None
        self.members = [(header(f"{self.id}/{name}", len(text)), text) for name, text in self.contents.items()]
        self.end = bytes(1024)

    def list(self, name: str, text: bytes = b"x", **other: Any) -> None:
        """Add a file to the manifest and to the members."""
        self.listed.append({"name": name, "size": len(text), "sha256": hashlib.sha256(text).hexdigest()} | other)
        block = tarfile.TarInfo(f"{self.id}/{name}"[:100])
        block.size = len(text)
        self.members.append((block.tobuf(tarfile.USTAR_FORMAT, errors="surrogateescape"), text))

    def put(self, name: str, text: bytes) -> None:
        """Other contents of a file, in both."""
        place = next(number for number, file in enumerate(self.listed) if file["name"] == name)
        self.listed[place] |= {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        self.members[place] = (header(f"{self.id}/{name}", len(text)), text)

    def member(self, kind: bytes, name: str | None = None, text: bytes = b"", **other: Any) -> None:
        """Put a member of another kind in the place of the preset, or before it."""
        block = tarfile.TarInfo(name or f"{self.id}/preset.toml")
        block.type, block.size = kind, len(text)
        for key, value in other.items():
            setattr(block, key, value)
        place = [file["name"] for file in self.listed].index("preset.toml")
        self.members[place] = (block.tobuf(tarfile.GNU_FORMAT), text)

    def write(self, path: Path) -> Path:
        manifest = self.manifest or json.dumps(self.head | {"files": self.listed}).encode()
        members = [(header("manifest.json", len(manifest)), manifest), *self.members]
        path.write_bytes(b"".join(block + text + padding(len(text)) for block, text in members) + self.end)
        return path
