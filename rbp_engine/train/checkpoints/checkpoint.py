"""Checkpoints: each is a folder that exists only with its manifest, and contains everything that a resume needs.

    step-00000123/
        model.safetensors     weights and running statistics
        ema.safetensors       their moving average, if the run has one (train.ema)
        optimizer.pt          optimizer, best values and open sums of the recorder, branches (loss.branches)
        rng-rank0.pt          generators of python, numpy, torch and CUDA, by rank
        manifest.json         step, epoch, position in the epoch, size and sha256 of each file; written last

Nothing in it can execute code when it is loaded.
"""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from rbp_engine.codec import LARGEST
from rbp_engine.probes.random_numbers import generator_state, restore_generators
from rbp_engine.run.files import inside
from rbp_engine.run.files.inside import Folder
from rbp_engine.run.files.layout import CHECKPOINT, by_step, json_text, read_json
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.errors import CheckpointError
from rbp_engine.train.optimisation import load_optimizer
from rbp_engine.untrusted_files import open_untrusted

SCHEMA = 1
KEPT = 2
WEIGHTS = "model.safetensors"
AVERAGED = "ema.safetensors"
MANIFEST = "manifest.json"
FILES = frozenset({WEIGHTS, "optimizer.pt"})
COUNTS = ("step", "epoch", "position", "world_size")


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` optimizer steps done, `position` batches of `epoch` (from 0) done."""

    step: int = 0
    epoch: int = 0
    position: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk; `files` are those that its manifest names."""

    path: Path
    progress: Progress
    world_size: int
    experiment: str
    device: str = ""  # the type of the device that it was trained on, "" if unknown
    files: tuple[str, ...] = ()


def save(
    folder: Path,
    state: State,
    progress: Progress,
    extra: dict[str, Any],
    *,
    experiment: str,
    generators: Sequence[dict[str, Any]] = (),
    best: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Checkpoint:
    """Write a checkpoint below `folder`, read it back, keep it as the `best` one too if it is, and prune older ones.

    The newest two stay. `generators` holds the `generator_state` of each rank, by default only that of this process;
    `extra` may be built of numbers, strings, lists and tensors; `metadata` goes into the header of the weights. Raises
    OSError on a full disk, and CheckpointError if the disk does not return what was written; existing checkpoints then
    stay, and no partial one is left.
    """
    generators = generators or [generator_state()]
    name = _name(progress.step)
    temporary = f"{name}.tmp"
    model, average, branches = state.model, state.average, state.branches
    device = next((weight.device.type for weight in model.parameters()), "")
    with _opened(folder) as here:
        here.remove(temporary)
        try:
            here.make(temporary)
            with here.folder(temporary) as fresh:
                files = {WEIGHTS: _write(fresh, WEIGHTS, _weights_bytes(model, metadata))}
                if average is not None:
                    with average.applied():
                        files[AVERAGED] = _write(fresh, AVERAGED, _weights_bytes(model, metadata))
                scale = state.scaler.state_dict()
                kept = {"optimizer": state.optimizer.state_dict(), "scaler": scale, "extra": extra}
                kept |= {"branches": branches.branches.state_dict()} if branches is not None else {}
                files["optimizer.pt"] = _write(fresh, "optimizer.pt", _torch_bytes(kept))
                for rank, generator in enumerate(generators):
                    file = _generator_file(rank)
                    files[file] = _write(fresh, file, _torch_bytes(generator))
                manifest = {"schema": SCHEMA, "experiment": experiment, "world_size": len(generators), "device": device}
                manifest |= {"t": time.time()} | vars(progress) | {"files": files}
                fresh.replace(MANIFEST, json_text(manifest, indent=1) + "\n")
            saved = _read_back(here, temporary)
            _put_in_place(here, temporary, name, f"{name}.old.tmp")
        except BaseException:
            here.remove(temporary)
            raise
        saved = replace(saved, path=folder / name)
        if best:
            keep_as_best(saved)
        # After that: until best/ is a copy of it, a resume needs the checkpoint of the best epoch, see `repair_best`.
        _prune(here, newest=name)
    return saved


def keep_as_best(checkpoint: Checkpoint) -> None:
    """Make `best/` a hard-linked copy of the checkpoint; the old one is removed only once the new one is on disk.

    Raises OSError, and CheckpointError if the copy cannot be read back.
    """
    with _opened(checkpoint.path.parent) as here:
        here.remove("best.tmp")
        here.make("best.tmp")
        with here.folder(checkpoint.path.name) as source, here.folder("best.tmp") as fresh:
            for name in (*checkpoint.files, MANIFEST):
                source.link(name, fresh)
        _read_back(here, "best.tmp")
        # A folder cannot be replaced atomically; in between, `find_best` uses the old one.
        _put_in_place(here, "best.tmp", "best", "best.old")


def repair_best(folder: Path, epoch: int) -> str:
    """Make sure that `best/` is complete and of the end of `epoch`; returns a warning if it was not, else ""."""
    with _opened(folder) as here:
        names = _steps(here)
    for checkpoint in _whole(folder, ("best", "best.old", *reversed(names))):
        if (checkpoint.progress.epoch, checkpoint.progress.position) == (epoch, 0):
            name = checkpoint.path.name
            if name == "best":
                return ""
            keep_as_best(checkpoint)
            return f"best/ was not a whole checkpoint of epoch {epoch}, the best so far: made again from {name}"
    best = find_best(folder)
    left = f"best/ is of epoch {best.progress.epoch}" if best else "best/ is missing or damaged"
    return f"the weights of epoch {epoch}, the best so far, are lost: {left}"


def remove_leftovers(folder: Path) -> None:
    """Remove the partial checkpoint of a killed save, and restore the one that it was about to replace."""
    if not os.path.lexists(folder):
        return
    with _opened(folder) as here:
        names = set(here.names())
        for name in sorted(names):
            target = name.removesuffix(".old.tmp")
            if name.startswith("step-") and target != name and target not in names:
                here.rename(name, target)
        for name in here.names():
            if name.endswith(".tmp"):
                here.remove(name)


def find_best(folder: Path) -> Checkpoint | None:
    """The best checkpoint; None if there is no complete one."""
    return next(_whole(folder, ("best", "best.old")), None)


def _whole(folder: Path, names: Iterable[str]) -> Iterator[Checkpoint]:
    """The complete ones among the checkpoints of these names."""
    for name in names:
        try:
            yield verify(folder / name)
        except CheckpointError:
            continue


def find_newest(folder: Path, announced: str | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest complete checkpoint, and a sentence for each newer one that was skipped.

    One that the run has `announced` is opened by its name, also where a cached listing of the folder does not show it.
    Raises OSError if the folder cannot be listed.
    """
    skipped: list[str] = []
    try:
        names = [path.name for path in folder.iterdir() if CHECKPOINT.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        names = []
    for name in sorted({*names, *([announced] if announced else [])}, key=by_step, reverse=True):
        if name == announced and not os.path.lexists(folder / name):
            skipped.append(f"{name} was saved and is not there")
            continue
        try:
            return verify(folder / name), skipped
        except CheckpointError as error:
            skipped.append(str(error))
    return None, skipped


def verify(path: Path) -> Checkpoint:
    """Check the manifest, and size and sha256 of every file that it names. Raises CheckpointError."""
    manifest = read_json(path / MANIFEST)
    try:
        if manifest["schema"] != SCHEMA:
            raise CheckpointError(f"{path.name} was written by another version (schema {manifest['schema']!r:.20})")
        step, epoch, position, world_size = (_count(manifest[name]) for name in COUNTS)
        experiment, device = str(manifest["experiment"]), str(manifest.get("device", ""))
        files = dict(manifest["files"])
        checkpoint = Checkpoint(path, Progress(step, epoch, position), world_size, experiment, device, tuple(files))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} has no readable manifest") from error
    if CHECKPOINT.fullmatch(path.name) and path.name != _name(step):
        raise CheckpointError(f"{path.name} is damaged: its manifest says step {step}")
    if MANIFEST in files or any(Path(name).name != name or not name.isprintable() for name in files):
        raise CheckpointError(f"{path.name} is damaged: its manifest names what is no file of it")
    wanted = FILES | {_generator_file(rank) for rank in range(min(world_size, len(files)))}
    if not 0 < world_size <= len(files) or not files.keys() >= wanted:
        raise CheckpointError(f"{path.name} is incomplete: its manifest names {', '.join(files) or 'no files'}")
    for name, expected in files.items():
        try:
            actual = _describe(path / name)
        except OSError as error:
            raise CheckpointError(f"{path.name}/{name} cannot be read: {error.strerror}") from error
        if actual != expected:
            raise CheckpointError(f"{path.name}/{name} is damaged: size or sha256 differs from the manifest")
    return checkpoint


def load(checkpoint: Checkpoint, state: State, rank: int = 0) -> dict[str, Any]:
    """Restore a state and the generators of this rank; returns the saved `extra`.

    A rank that is not in the checkpoint keeps its generators. Raises CheckpointError if the checkpoint belongs to
    another network or optimizer.
    """
    try:
        if state.average is not None:
            load_weights_file(checkpoint.path / AVERAGED, f"{checkpoint.path.name}/{AVERAGED}", state.model)
            state.average.take()
        load_weights(checkpoint, state.model)
        kept = torch.load(checkpoint.path / "optimizer.pt", weights_only=True, map_location="cpu")
        load_optimizer(state.optimizer, kept["optimizer"])
        if state.branches is not None:
            state.branches.branches.load_state_dict(kept["branches"])
        if kept.get("scaler"):
            state.scaler.load_state_dict(kept["scaler"])
        extra: dict[str, Any] = kept["extra"]
        if rank < checkpoint.world_size:
            generators = checkpoint.path / _generator_file(rank)
            restore_generators(torch.load(generators, weights_only=True, map_location="cpu"))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.path.name} does not fit this run: {error}") from error
    return extra


def load_weights(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Load the weights and running statistics of a checkpoint into a model.

    Raises CheckpointError if they belong to another network, have another type, or are not finite.
    """
    load_weights_file(checkpoint.path / WEIGHTS, checkpoint.path.name, model)


def load_weights_file(path: Path, name: str, model: nn.Module) -> None:
    """The same for a file of weights that is called `name` in messages."""
    try:
        weights = load_file(path)
        for key, parameter in model.named_parameters():
            if isinstance(parameter, nn.UninitializedParameter) and key in weights:
                parameter.materialize(weights[key].shape)
        problem = _misfit(weights, model.state_dict())
        bad = [key for key, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
        if not problem and not bad:
            model.load_state_dict(weights)
    except Exception as error:
        raise CheckpointError(f"the weights of {name} do not fit this network: {error}") from error
    if problem:
        raise CheckpointError(f"the weights of {name} do not fit this network: {problem}")
    if bad:
        raise CheckpointError(
            f"{name} holds weights that are NaN or infinite ({bad[0]}), as no run saves them: "
            "empty its folder, and a run goes on from the checkpoint before it"
        )


def _misfit(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The first difference between the weights of a file and those of a network; "" if they fit."""
    if differing := sorted(weights.keys() ^ own.keys()):
        return f"{differing[0]} is only {'there' if differing[0] in weights else 'here'}"
    for key, tensor in own.items():
        there = weights[key]
        if there.dtype != tensor.dtype:
            return f"{key} is {there.dtype} there, and {tensor.dtype} here"
        if there.shape != tensor.shape:
            return f"{key} is {list(there.shape)} there, and {list(tensor.shape)} here"
    return ""


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError(f"{value!r} counts nothing")
    return value


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _generator_file(rank: int) -> str:
    return f"rng-rank{rank}.pt"


def _opened(folder: Path) -> contextlib.AbstractContextManager[Folder]:
    """Open the folder of a run's checkpoints, which must not be a link, and make it if it is missing.

    The run's own folder is not made: it may have been removed.
    """
    return inside.folder(folder, folder.parent, make=True)


def _read_back(here: Folder, name: str) -> Checkpoint:
    """Verify what has just been written, as a resume will. Raises CheckpointError if the disk returns anything else."""
    try:
        return verify(here.path / name)
    except CheckpointError as error:
        raise CheckpointError(
            f"the disk of {here.path} does not return what was written ({error}): look at it, then resume"
        ) from error


def _put_in_place(here: Folder, fresh: str, target: str, old: str) -> None:
    """Flush a folder to the disk and give it the name of another, which is called `old` until that is done."""
    with here.folder(fresh) as made:
        made.sync()
    if inside.exists(here.path / target, here.path):
        here.remove(old)
        here.rename(target, old)
    here.rename(fresh, target)
    here.sync()
    here.remove(old)


def _write(fresh: Folder, name: str, contents: bytes | memoryview) -> dict[str, Any]:
    """Write a file of a checkpoint and describe what was written, not what the disk has made of it."""
    fresh.write(name, contents)
    return {"size": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}


def _describe(path: Path) -> dict[str, Any]:
    with open_untrusted(path) as file:
        return {"size": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _weights_bytes(model: nn.Module, metadata: Mapping[str, str] | None) -> bytes:
    """The file of a network's weights: bytes, since safetensors would raise its own error for a full disk."""
    weights: dict[str, Tensor] = {}
    stored = set[int]()
    for key, tensor in model.state_dict().items():
        weights[key] = tensor.detach().contiguous()
        # Safetensors refuses a weight that two modules share; it is written under both names.
        if (place := weights[key].untyped_storage().data_ptr()) in stored:
            weights[key] = weights[key].clone()
        stored.add(place)
    return safetensors_bytes(weights, dict(metadata or {}))


def _torch_bytes(value: Any) -> memoryview:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getbuffer()


def _steps(here: Folder) -> list[str]:
    """The names of the checkpoints in a folder, the oldest first; without the best one, which is beside them."""
    return sorted(filter(CHECKPOINT.fullmatch, here.names()), key=by_step)


def _prune(here: Folder, newest: str) -> None:
    # Steps later than the newest belong to damaged checkpoints that a resume has skipped.
    names = [name for name in _steps(here) if by_step(name) <= by_step(newest)]
    for name in names[:-KEPT]:
        leftover = f"{name}.pruned.tmp"  # a half-removed folder must not look like a checkpoint
        with contextlib.suppress(OSError):
            here.rename(name, leftover)
        here.remove(leftover)
