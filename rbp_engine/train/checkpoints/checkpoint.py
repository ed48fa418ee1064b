"""Checkpoints: each is a folder that exists only with its manifest, and contains everything that a resume needs.

    step-00000123/
        model.safetensors     weights and running statistics
        optimizer.pt          optimizer, best values and open sums of the recorder
        rng-rank0.pt          generators of python, numpy, torch and CUDA, by rank
        manifest.json         step, epoch, position in the epoch, size and sha256 of each file; written last

Nothing in it can execute code when it is loaded.
"""

import contextlib
import hashlib
import io
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import nn

from rbp_engine.disk import sync
from rbp_engine.run.files.json_fields import LARGEST
from rbp_engine.run.files.layout import CHECKPOINT, read_json, write_json
from rbp_engine.train.errors import CheckpointError
from rbp_engine.train.optimisation import load_optimizer

SCHEMA = 1
KEPT = 2
FILES = frozenset({"model.safetensors", "optimizer.pt"})
COUNTS = ("step", "epoch", "position", "world_size")


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` optimizer steps done, `position` batches of `epoch` (from 0) done."""

    step: int = 0
    epoch: int = 0
    position: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    progress: Progress
    world_size: int
    experiment: str
    device: str = ""  # the type of the device that it was trained on, "" if unknown


def save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    extra: dict[str, Any],
    *,
    experiment: str,
    generators: Sequence[dict[str, Any]] = (),
    scaler: torch.amp.GradScaler | None = None,
    best_epoch: int | None = None,
) -> Checkpoint:
    """Write a checkpoint below `folder` and prune all but the newest two.

    The checkpoint of the end of `best_epoch` is not pruned either until `best/` is a complete copy of it. `generators`
    holds the `generator_state` of each rank, by default only that of this process; `extra` may be built of numbers,
    strings, lists and tensors. Raises OSError on a full disk; existing checkpoints then stay, and no partial one is
    left.
    """
    generators = generators or [generator_state()]
    target = folder / _name(progress.step)
    temporary, replaced = folder / f"{target.name}.tmp", folder / f"{target.name}.old.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        folder.mkdir(exist_ok=True)  # without parents: do not recreate the folder of a run that was removed
        temporary.mkdir()
        weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
        _write(temporary / "model.safetensors", safetensors_bytes(weights))
        state = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict() if scaler else {}, "extra": extra}
        _write(temporary / "optimizer.pt", _torch_bytes(state))
        for rank, generator in enumerate(generators):
            _write(temporary / _generator_file(rank), _torch_bytes(generator))
        files = {path.name: _describe(path) for path in sorted(temporary.iterdir())}
        device = next((weight.device.type for weight in model.parameters()), "")
        manifest = {"schema": SCHEMA, "experiment": experiment, "world_size": len(generators), "device": device}
        manifest |= {"t": time.time()}
        write_json(temporary / "manifest.json", manifest | vars(progress) | {"files": files})
        _put_in_place(temporary, target, replaced)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _prune(folder, best_epoch, newest=target.name)
    return Checkpoint(target, progress, len(generators), experiment, device)


def keep_as_best(checkpoint: Checkpoint) -> None:
    """Make `best/` a hard-linked copy of the checkpoint; the old one is removed only once the new one is on disk."""
    folder = checkpoint.path.parent
    fresh, old, best = folder / "best.tmp", folder / "best.old", folder / "best"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(checkpoint.path, fresh, copy_function=_link)
    # A folder cannot be replaced atomically; in between, `find_best` uses the old one.
    _put_in_place(fresh, best, old)


def repair_best(folder: Path, epoch: int) -> str:
    """Make sure that `best/` is complete and of the end of `epoch`; returns a warning if it was not, else ""."""
    steps = sorted((path for path in folder.iterdir() if CHECKPOINT.fullmatch(path.name)), reverse=True)
    for path in (folder / "best", folder / "best.old", *steps):
        try:
            checkpoint = verify(path)
        except CheckpointError:
            continue
        if _is_end_of(checkpoint, epoch):
            if path.name == "best":
                return ""
            keep_as_best(checkpoint)
            return f"best/ was not a whole checkpoint of epoch {epoch}, the best so far: made again from {path.name}"
    found = find_best(folder)
    left = f"best/ is of epoch {found.progress.epoch}" if found else "best/ is missing or damaged"
    return f"the weights of epoch {epoch}, the best so far, are lost: {left}"


def remove_leftovers(folder: Path) -> None:
    """Remove the partial checkpoint of a killed save, and restore the one that it was about to replace."""
    for path in folder.glob("step-*.old.tmp"):
        target = path.with_name(path.name.removesuffix(".old.tmp"))
        if not target.exists():
            path.rename(target)
    for path in folder.glob("*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def find_best(folder: Path) -> Checkpoint | None:
    """The best checkpoint; None if there is no complete one."""
    for path in (folder / "best", folder / "best.old"):
        try:
            return verify(path)
        except CheckpointError:
            continue
    return None


def find_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest complete checkpoint, and a sentence for each newer one that was skipped."""
    skipped: list[str] = []
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    for name in sorted((name for name in names if CHECKPOINT.fullmatch(name)), reverse=True):
        try:
            return verify(folder / name), skipped
        except CheckpointError as error:
            skipped.append(str(error))
    return None, skipped


def verify(path: Path) -> Checkpoint:
    """Check the manifest, and size and sha256 of every file that it names. Raises CheckpointError."""
    manifest = read_json(path / "manifest.json")
    try:
        if manifest["schema"] != SCHEMA:
            raise CheckpointError(f"{path.name} was written by another version (schema {manifest['schema']!r:.20})")
        step, epoch, position, world_size = (_count(manifest[name]) for name in COUNTS)
        experiment, device = str(manifest["experiment"]), str(manifest.get("device", ""))
        checkpoint = Checkpoint(path, Progress(step, epoch, position), world_size, experiment, device)
        files = dict(manifest["files"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has no readable manifest") from error
    if CHECKPOINT.fullmatch(path.name) and path.name != _name(step):
        raise CheckpointError(f"{path.name} is damaged: its manifest says step {step}")
    wanted = FILES | {_generator_file(rank) for rank in range(min(world_size, len(files)))}
    if not 0 < world_size <= len(files) or not files.keys() >= wanted:
        raise CheckpointError(f"{path.name} is incomplete: its manifest names {', '.join(files) or 'no files'}")
    for name, expected in files.items():
        try:
            found = _describe(path / Path(name).name)
        except OSError as error:
            raise CheckpointError(f"{path.name}/{name} cannot be read: {error.strerror}") from error
        if found != expected:
            raise CheckpointError(f"{path.name}/{name} is damaged: size or sha256 differs from the manifest")
    return checkpoint


def load(
    checkpoint: Checkpoint,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rank: int = 0,
    scaler: torch.amp.GradScaler | None = None,
) -> dict[str, Any]:
    """Restore weights, optimizer, loss scale and the generators of this rank. Returns the saved `extra`.

    A rank that is not in the checkpoint keeps its generators. Raises CheckpointError if the checkpoint is of another
    network or optimizer.
    """
    try:
        load_weights(checkpoint, model)
        state = torch.load(checkpoint.path / "optimizer.pt", weights_only=True, map_location="cpu")
        load_optimizer(optimizer, state["optimizer"])
        if scaler is not None and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])
        extra: dict[str, Any] = state["extra"]
        if rank < checkpoint.world_size:
            generators = checkpoint.path / _generator_file(rank)
            _restore_generators(torch.load(generators, weights_only=True, map_location="cpu"))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.path.name} does not fit this run: {error}") from error
    return extra


def load_weights(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Load the weights and running statistics of a checkpoint into a model.

    Raises CheckpointError if they are of another network or dtype, or not finite.
    """
    name = checkpoint.path.name
    try:
        weights = load_file(checkpoint.path / "model.safetensors")
        for key, own in model.state_dict().items():
            if key in weights and weights[key].dtype != own.dtype:
                raise TypeError(f"{key} is {weights[key].dtype} there, and {own.dtype} here")
        bad = [key for key, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
        if not bad:
            model.load_state_dict(weights)
    except Exception as error:
        raise CheckpointError(f"the weights of {name} do not fit this network: {error}") from error
    if bad:
        raise CheckpointError(
            f"{name} holds weights that are NaN or infinite ({bad[0]}), as no run saves them: "
            "remove its folder to go on from the checkpoint before it"
        )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError(f"{value!r} counts nothing")
    return value


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _generator_file(rank: int) -> str:
    return f"rng-rank{rank}.pt"


def generator_state() -> dict[str, Any]:
    """The generators of this process: python, numpy, torch and CUDA."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "python": [version, list(words), gauss],
        "numpy": numpy_state | {"state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
        # Only of the card that this process uses: the number of visible cards may differ at the resume.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def _restore_generators(state: dict[str, Any]) -> None:
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    words = np.array(state["numpy"]["state"]["key"], dtype=np.uint32)
    np.random.set_state(state["numpy"] | {"state": {**state["numpy"]["state"], "key": words}})
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"][0])


def _put_in_place(fresh: Path, target: Path, old: Path) -> None:
    """Flush a folder to the disk and give it the name of another, which is called `old` until that is done."""
    sync(fresh)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    fresh.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
        sync(Path(target))


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _torch_bytes(value: Any) -> memoryview:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getbuffer()


def _write(path: Path, content: bytes | memoryview) -> None:
    """Write a file and flush it to the disk. safetensors and torch would raise their own errors for a full disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _prune(folder: Path, best_epoch: int | None, newest: str) -> None:
    # Steps later than the newest belong to damaged checkpoints that a resume has skipped.
    names = sorted(path.name for path in folder.iterdir() if CHECKPOINT.fullmatch(path.name) and path.name <= newest)
    for name in names[:-KEPT]:
        if best_epoch is not None and _is_only_best(folder / name, best_epoch):
            continue
        leftover = folder / f"{name}.pruned.tmp"  # a half-removed folder must not look like a checkpoint
        with contextlib.suppress(OSError):
            (folder / name).rename(leftover)
        shutil.rmtree(leftover, ignore_errors=True)


def _is_only_best(path: Path, epoch: int) -> bool:
    """Whether a checkpoint is of the end of the best epoch, and `best/` is not a complete copy of it."""
    manifest = read_json(path / "manifest.json")
    if (manifest.get("epoch"), manifest.get("position")) != (epoch, 0):
        return False
    best = find_best(path.parent)
    return best is None or not _is_end_of(best, epoch)


def _is_end_of(checkpoint: Checkpoint, epoch: int) -> bool:
    return (checkpoint.progress.epoch, checkpoint.progress.position) == (epoch, 0)
