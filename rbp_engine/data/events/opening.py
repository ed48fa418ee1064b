"""Open a set of event data for a run: CIFAR10-DVS from its cache, or synthetic events in memory."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from rbp_engine.data.class_names import CLASS_NAMES
from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.convert import Progress, convert
from rbp_engine.data.events.sources import EventEvaluation, EventTraining
from rbp_engine.data.events.synthetic import content_hash, moving_digits, sequential_digits
from rbp_engine.data.preprocess import Frames
from rbp_engine.data.protocol import Feed
from rbp_engine.data.stratified import stratified_indices
from rbp_engine.errors import SettingsError
from rbp_engine.vocabulary import EventSet, FramesBy, Orientation, Resize, SplitName

CLASSES: Final = 10


def open_events(
    *,
    name: EventSet,
    timesteps: int,
    root: Path | None = None,
    cache: Path | None = None,
    frames_by: FramesBy = "number",
    split: SplitName = "last100",
    resize: Resize = "exact",
    size: int = 48,
    orientation: Orientation = "canonical",
    layout: int = 0,
    progress: Progress | None = None,
    **batches: Any,
) -> Feed:
    """The `batches` [T, B, C, H, W] of a run with `timesteps` T, see `event_feed`.

    The parameters from `root` to `progress` are only for cifar10_dvs: it is converted if there is no cache yet, which
    takes minutes; of several processes one converts and the others wait. Raises EventDataError and OSError for its
    files, ValueError for a setting that does not fit.
    """
    if name == "cifar10_dvs":
        if root is None or cache is None:
            raise ValueError("cifar10_dvs needs the folder it lies in and one for its cache")
        done = convert(
            root,
            cache,
            timesteps=timesteps,
            frames_by=frames_by,
            split=split,
            resize=resize,
            size=size,
            orientation=orientation,
            layout=layout,
            wait=True,
            progress=progress,
        )
        train, test = done.train, done.test
        record = _record({key: value for key, value in done.manifest.items() if key not in ("files", "finished")})
    else:
        train, test = _in_memory(name, timesteps)
        record = _record({"name": name, "synthetic": True, "timesteps": timesteps, "sha256": content_hash(train, test)})
    return event_feed(train, test, CLASSES, record, class_names=CLASS_NAMES[name], **batches)


def event_feed(
    train: Samples,
    test: Samples,
    classes: int,
    record: dict[str, str],
    *,
    device: torch.device,
    batch_size: int,
    seed: int,
    held_out: float = 0.0,
    flip: bool = False,
    roll: int = 0,
    drop_last: bool = False,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    class_names: tuple[str, ...] = (),
) -> Feed:
    """Batches of samples in memory or on disk; `held_out` is the fraction of the training samples to validate on."""
    batches: dict[str, Any] = {
        "device": device,
        "batch_size": batch_size,
        "workers": workers,
        "rank": rank,
        "world_size": world_size,
    }
    kept, judged = np.arange(len(train)), np.arange(len(test))
    test_source = EventEvaluation(test, judged, **batches)
    validation = test_source
    if held_out:
        kept, held = stratified_indices(train.labels, held_out)
        validation = EventEvaluation(train, held, split="held-out", **batches)
    source = EventTraining(train, kept, seed=seed, flip=flip, roll=roll, drop_last=drop_last, **batches)
    channels = int(train.counts.shape[2])
    raw = Frames(channels, train.scale)
    loaders = (source.loader, validation.loader, test_source.loader) if workers else ()
    return Feed(source, validation, test_source, classes, channels, raw, record, loaders, class_names)


def _in_memory(name: EventSet, timesteps: int) -> tuple[Samples, Samples]:
    if name == "moving_digits":
        return moving_digits(timesteps)
    if timesteps != 8:
        raise SettingsError(f"sequential_digits has one timestep for each of its 8 rows: set T to 8, not {timesteps}")
    return sequential_digits()


def _record(values: dict[str, object]) -> dict[str, str]:
    """Values as the strings of a data record."""
    return {key: "; ".join(value) if isinstance(value, list) else _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)
