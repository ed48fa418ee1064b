"""Converted frames on disk: a folder with one array and its labels per part, and a manifest with their checksums."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.archives import map_array
from rbp_engine.data.events.plan import PARTS
from rbp_engine.data.files import checksum, read_data
from rbp_engine.disk import sync
from rbp_engine.untrusted_files import JSON_LIMIT, parse_json

MANIFEST: Final = "manifest.json"
_FILES: Final = tuple(f"{part}{kind}.npy" for part in PARTS for kind in ("", "_labels"))


@dataclass(frozen=True)
class Samples:
    """Frames `counts` [N, T, C, H, W] and `labels` int64 [N]; a pixel's value is its count times `scale`."""

    counts: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    scale: float = 1.0

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Cache:
    """A finished conversion; the counts of `train` and `test` are memory-mapped."""

    folder: Path
    manifest: dict[str, Any]
    train: Samples
    test: Samples


def key_of(name: str, settings: dict[str, Any]) -> str:
    """The name of a set's folder for these settings, which include the recordings and the state of their files."""
    return f"{name}-" + hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def load(folder: Path) -> Cache | None:
    """The cache in `folder`; None if it is missing, incomplete, or does not match its manifest."""
    try:
        manifest = parse_json(read_data(folder / MANIFEST, JSON_LIMIT))
        if manifest["finished"] is not True:
            return None
        for name in _FILES:
            if (folder / name).stat().st_size != manifest["files"][name]["bytes"]:
                return None
        train, test = (_samples(folder, part, manifest) for part in PARTS)
    except Exception:  # a damaged file may raise anything in its reader
        return None
    return Cache(folder, manifest, train, test)


def verify(folder: Path) -> list[str]:
    """Read all of a cache and return its problems, none if it is intact."""
    cache = load(folder)
    if cache is None:
        return [f"{folder} is no finished conversion: delete it and convert again"]
    return [
        f"{folder / name} is damaged: delete {folder} and convert again"
        for name in _FILES
        if checksum(folder / name) != cache.manifest["files"][name]["sha256"]
    ]


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, last, when all arrays are complete and flushed to the disk."""
    files = {}
    for name in _FILES:
        sync(folder / name)
        files[name] = {"bytes": (folder / name).stat().st_size, "sha256": checksum(folder / name)}
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest | {"files": files, "finished": True}, indent=1) + "\n", encoding="utf-8")
    sync(path)
    sync(folder)


def _samples(folder: Path, part: str, manifest: dict[str, Any]) -> Samples:
    """Raises ValueError, among others, for what training could not use."""
    counts, labels = map_array(folder / f"{part}.npy"), np.array(map_array(folder / f"{part}_labels.npy"))
    if counts.ndim != 5 or labels.dtype != np.int64 or labels.shape != counts.shape[:1]:
        raise ValueError(f"{folder} holds no frames with labels")
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= manifest["classes"]:
        raise ValueError(f"{folder} holds no labels, or others than its classes have")
    return Samples(counts, labels, float(manifest["scale"]))
