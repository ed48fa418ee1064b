"""What a file of weights says about its network: how to build it, and how to make its input. In the file's header."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.data.preprocess import Frames, Pixels, Preprocess
from rbp_engine.errors import UserError
from rbp_engine.preset import parse_resolved, resolved_toml
from rbp_engine.preset.schema import Preset
from rbp_engine.run.files.weights_header import KEY, read_header
from rbp_engine.train.errors import CheckpointError
from rbp_engine.untrusted_files import described, parse_json

MOST_CLASSES = 100_000
MOST_CHANNELS = 10_000


@dataclass(frozen=True)
class Recipe:
    """The settings of a run, and what its data decided: the number of classes, and how images become input."""

    preset: Preset
    classes: int
    preprocess: Preprocess

    def as_metadata(self) -> dict[str, str]:
        """The recipe as safetensors keeps it. One key, because safetensors writes several in any order."""
        value = {"preset": resolved_toml(self.preset), "classes": self.classes}
        return {KEY: json.dumps(value | {type(self.preprocess).__name__.lower(): vars(self.preprocess)})}


def read_recipe(path: Path) -> Recipe | None:
    """The recipe in the header of a file of weights; None if it has none, as those of other programs.

    Raises CheckpointError for a file that cannot be read, is not safetensors, or has an invalid recipe.
    """
    try:
        text = read_header(path)
    except OSError as error:
        raise CheckpointError(described(error)) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged, or no file of safetensors") from error
    if text is None:
        return None
    try:
        value = parse_json(text.encode())
        preset = parse_resolved(value["preset"], path)
        return Recipe(preset, _count(value["classes"], MOST_CLASSES), _preprocess(value))
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise CheckpointError(
            f"{path} says which network it is of, but not in a way that is understood here"
        ) from error


def _preprocess(value: dict[str, Any]) -> Preprocess:
    if "frames" in value:
        frames = value["frames"]
        return Frames(_count(frames["channels"], MOST_CHANNELS), _positive(frames["scale"]))
    pixels = value["pixels"]
    mean, deviation = ([*map(float, pixels[name])] for name in ("mean", "deviation"))
    if not 0 < len(mean) == len(deviation) <= MOST_CHANNELS or not all(map(math.isfinite, mean)):
        raise ValueError("mean and deviation belong to the channels")
    return Pixels(tuple(mean), tuple(map(_positive, deviation)), _count(pixels["crop"], 4096, least=0))


def _count(value: Any, most: int, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.40} counts nothing")
    return value


def _positive(value: Any) -> float:
    if not 0.0 < float(value) < math.inf:
        raise ValueError(f"{value!r:.40} scales nothing")
    return float(value)
