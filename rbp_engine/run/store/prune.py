"""Checkpoints that are no longer needed: which ones a rule would remove, how much that frees, and their removal."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR

from rbp_engine.codec import Count, decode
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError, cannot
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import CHECKPOINT, RunDirectory, by_step, contents, unreadable_refused
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.disk_use import freed_by
from rbp_engine.run.store.store import RunRecord, refuse_live
from rbp_engine.untrusted_files import JSON_LIMIT, read_untrusted

_BEST, _BEST_BEFORE, _LEFTOVER = "best", "best.old", ".tmp"


@dataclass(frozen=True)
class _File:
    size: Count


@dataclass(frozen=True)
class _Manifest:
    """Of the manifest of a checkpoint, what can be checked without reading all of its files."""

    files: dict[str, _File] = field(default_factory=dict)


@dataclass(frozen=True)
class Pruning:
    """What a rule would do to a run: remove these folders of `checkpoints/`, and free so many bytes.

    `why_more` says why more stays than the rule says, if it does.
    """

    run: RunDirectory
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    frees: int = 0
    why_more: str = ""


def plan_pruning(record: RunRecord, *, keep_best: bool, keep_last: bool) -> Pruning:
    """What would be removed from a run, of which the best checkpoint, the last, both or none are to stay.

    Nothing goes of a run that has not completed: a resume may need it, and training keeps no more than that. Nor of one
    of which something cannot be read.
    """
    run = record.run
    if record.verdict.status != "completed":
        return Pruning(run, why_more=f"it is {record.verdict.status}, and not completed")
    try:
        names = sorted(
            (path.name for path, at in contents(run.path) if path.parent == run.checkpoints and S_ISDIR(at.st_mode)),
            key=by_step,
        )
        steps = [name for name in names if CHECKPOINT.fullmatch(name) and _is_whole(run.checkpoints / name)]
        best = [name for name in (_BEST, _BEST_BEFORE) if name in names and _is_whole(run.checkpoints / name)][:1]
        kept, why_more = {*(best if keep_best else ()), *(steps[-1:] if keep_last else ())}, ""
        if (keep_best or keep_last) and not kept:
            kept = {*best, *steps[-1:]}
            why_more = f"it has no other whole checkpoint than {' and '.join(sorted(kept))}" if kept else ""
        removed = tuple(name for name in names if _is_ours(name) and name not in kept)
        frees = freed_by(run.checkpoints / name for name in removed)
        return Pruning(run, removed, tuple(sorted(kept)), frees, why_more)
    except RunError as error:
        return Pruning(run, why_more=str(error))


def prune(pruning: Pruning) -> int:
    """Remove what the plan says, for good; the bytes that it frees.

    Raises RunError if the run has been started since, or something cannot be removed; Untrusted if it is another
    user's.
    """
    run = pruning.run
    trust.require_place(run.path.parent)
    trust.require_own(run)
    refuse_live(run)
    if judge(run).status != "completed":
        raise RunError(f"{run.id} is no longer completed: nothing was removed")
    with (
        cannot(f"remove checkpoints of {run.id}"),
        contextlib.suppress(FileNotFoundError),  # somebody else has removed it
        inside.folder(run.checkpoints, run.path) as here,
    ):
        for name in pruning.removed:
            leftover = name if name.endswith(_LEFTOVER) else f"{name}.pruned{_LEFTOVER}"
            if leftover != name:
                here.rename(name, leftover)  # a half-removed folder must not look like a checkpoint
            here.delete(leftover)
    return pruning.frees


def _is_whole(checkpoint: Path) -> bool:
    """Whether a folder was written to its end and has kept its files: those of its manifest, in their sizes."""
    with unreadable_refused(checkpoint):
        try:
            manifest = decode(_Manifest, read_untrusted(checkpoint / "manifest.json", JSON_LIMIT))
            sizes = {name: (checkpoint / name).stat().st_size for name in manifest.files}
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False
    return "model.safetensors" in sizes and all(sizes[name] == file.size for name, file in manifest.files.items())


def _is_ours(name: str) -> bool:
    return bool(CHECKPOINT.fullmatch(name)) or name in (_BEST, _BEST_BEFORE) or name.endswith(_LEFTOVER)
