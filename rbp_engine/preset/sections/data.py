"""`[data]`: what is learnt from, and how it is read."""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    field_validator,
)
from pydantic_core import PydanticCustomError

from rbp_engine.data.catalog import CATALOG
from rbp_engine.preset.sections.base import (
    MOST_IMAGES,
    MOST_PIXELS,
    MOST_WORKERS,
    Arguments,
    Section,
    field,
    known,
)
from rbp_engine.vocabulary import (
    FOLDER_SET,
    FramesBy,
    Orientation,
    Resize,
    SplitName,
)

# The sets whose samples have a size to choose, with the one for 0.
_SIZED: Final = ", ".join(f"{one.name} (0: {one.default_size})" for one in CATALOG.values() if one.default_size)


class DataSection(Section):
    """The data set and what is done to its images."""

    name: Annotated[str, known(CATALOG, FOLDER_SET)] = field(
        "digits",
        "result",
        "",
        "Data set to train and test on; images in your folders as folder:name, your own code as sets.py:function.",
        CATALOG,
    )
    args: Arguments = field({}, "result", "", "Keyword arguments of a data set of your own, or of fake.")
    batch_size: int = field(
        64, "result", "images", "Images per optimizer step, over all processes.", ge=1, le=MOST_IMAGES
    )
    crop_padding: int = field(
        0,
        "result",
        "pixels",
        "Zero padding on each side before a random crop to the first size; 0 is off.",
        ge=0,
        le=MOST_PIXELS,
    )
    flip: bool = field(False, "result", "", "Mirror training images left to right with probability 0.5.")
    auto_augment: bool = field(False, "result", "", "AutoAugment of training images, CIFAR-10 policy; for 3 channels.")
    augment_backend: Literal["batched", "pil"] = field(
        "batched",
        "result",
        "",
        "Augment whole batches on the device, or one PIL image at a time as the paper's pipeline does.",
    )
    cutout: int = field(
        0, "result", "pixels", "Side of one square erased in training images or frames; 0 is off.", ge=0, le=MOST_PIXELS
    )
    mixup: float = field(
        0.0,
        "result",
        "",
        "Mix pairs of training images and their labels, in parts drawn from Beta(mixup, mixup); 0 is off.",
        ge=0,
        le=100,
    )
    cutmix: float = field(
        0.0,
        "result",
        "",
        "Put a box of another training image into each, of a share drawn from Beta(cutmix, cutmix); 0 is off.",
        ge=0,
        le=100,
    )
    size: int = field(
        0,
        "result",
        "pixels",
        f"Side of the images of {_SIZED}, and folder:name, read one by one then (0: their own, where all share one); "
        "other sets have their own.",
        ge=0,
        le=MOST_PIXELS,
    )
    roll: int = field(
        0,
        "result",
        "pixels",
        "Largest random shift of event frames, coming in on the other side.",
        ge=0,
        le=MOST_PIXELS,
    )
    frames_by: FramesBy = field(
        "number", "result", "", "Cut a recording into T frames of equal event number, or of equal time."
    )
    split: SplitName = field(
        "last100",
        "result",
        "",
        "Test recordings of cifar10_dvs: the last or first 100 of each class, or a random tenth.",
    )
    resize: Resize = field(
        "exact",
        "result",
        "",
        "How event frames are resized; legacy_pil repeats the published code's loss of a polarity.",
    )
    orientation: Orientation = field(
        "canonical", "result", "", "Turn event frames of every layout alike, or leave them as stored."
    )
    workers: int | Literal["auto"] = field(
        0,
        "cost",
        "processes",
        "Processes that read images or event frames ahead, for each rank, at most 256; 0 reads in the worker, and auto "
        "leaves it one of its cores and takes the others, up to 8.",
    )
    drop_last: bool = field(False, "result", "", "Leave out the last, smaller batch of an epoch.")

    @field_validator("workers", mode="plain")
    @classmethod
    def _workers(cls, value: Any) -> Any:
        # A plain union would report each alternative as a separate problem.
        if value != "auto" and (type(value) is not int or not 0 <= value <= MOST_WORKERS):
            raise PydanticCustomError("workers", f'expected a whole number from 0 to {MOST_WORKERS}, or "auto"')
        return value
