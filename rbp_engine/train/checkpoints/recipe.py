"""What a file of weights says about its network: how to build it, and how to make its input. In the file's header."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from rbp_engine.codec import decode
from rbp_engine.data.preprocess import Frames, Pixels, Preprocess
from rbp_engine.errors import UserError
from rbp_engine.preset import parse_resolved, resolved_toml
from rbp_engine.preset.schema import Preset
from rbp_engine.printable import Lines
from rbp_engine.run.files.weights_header import KEY, read_header
from rbp_engine.train.errors import CheckpointError
from rbp_engine.untrusted_files import described

MOST_CLASSES = 100_000


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


@dataclass(frozen=True)
class _Written:
    """A recipe as it is written, with one of `pixels` and `frames`."""

    preset: Lines
    classes: Annotated[int, Meta(ge=1, le=MOST_CLASSES)]
    pixels: Pixels | None = None
    frames: Frames | None = None


def read_recipe(path: Path) -> Recipe | None:
    """The recipe in the header of a file of weights; None if it has none, as in files of other programs.

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
        written = decode(_Written, text.encode())
        preset, preprocess = parse_resolved(written.preset, path), written.pixels or written.frames
        if preprocess is None:
            raise ValueError("it does not say how images become input")
        return Recipe(preset, written.classes, preprocess)
    except (ValueError, UserError) as error:
        raise CheckpointError(
            f"{path} says which network it is of, but not in a way that is understood here"
        ) from error
