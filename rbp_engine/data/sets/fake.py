"""`fake`: random images or frames of any shape, only for benchmarks: there is nothing to learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rbp_engine.data.data_set import FOR_IMAGES, DataSet, DataShape, Kind
from rbp_engine.settings.spelling import describe_value, did_you_mean, is_count

if TYPE_CHECKING:
    from rbp_engine.data.events.cache import Samples
    from rbp_engine.data.feed import DataSettings, Feed, Opening
    from rbp_engine.data.splits import DataSplits

#: What `data.args` has, in words.
ARGUMENTS: Final[Mapping[str, str]] = {
    "shape": "channels, height and width, three whole numbers from 1 to 4096",
    "classes": "a whole number from 1 to 1048576",
    "train_size": "a whole number from 1 to 1048576",
    "test_size": "a whole number from 1 to 1048576",
    "frames": "true or false",
}


@dataclass(frozen=True, kw_only=True)
class Fake(DataSet):
    """Images, or frames if `data.args.frames` is true; shape and sizes are in `data.args`, too."""

    kind: ClassVar[Kind] = "random"

    def shape(self, data: "DataSettings") -> DataShape | None:
        made = arguments_of(data.args, data.size)
        channels, height, width = made["shape"]
        sizes = made["classes"], made["train_size"], made["test_size"]
        return DataShape((channels, height, width), bool(data.args.get("frames")), *sizes)

    def open(self, opening: "Opening") -> "Feed":
        from rbp_engine.data.events.feed import event_feed
        from rbp_engine.data.loading.memory import images_in_memory

        data = opening.data
        made = arguments_of(data.args, data.size)
        if data.args.get("frames"):
            train, test = fake_frames(timesteps=opening.timesteps, **made)
            return event_feed(train, test, made["classes"], opening)
        return images_in_memory(fake(**made), opening)

    def wrong_arguments(self, args: Mapping[str, Any]) -> list[tuple[str, str]]:
        found = []
        for key, value in args.items():
            if key not in ARGUMENTS:
                taken = ", ".join(ARGUMENTS)
                found.append((key, f"fake takes no '{key}', it takes: {taken}.{did_you_mean(key, list(ARGUMENTS))}"))
            elif not _is_valid(key, value):
                found.append((key, f"expected {ARGUMENTS[key]}, got {describe_value(value)}"))
        return found


def _is_valid(key: str, value: object) -> bool:
    if key == "frames":
        return isinstance(value, bool)
    if key == "shape":
        return isinstance(value, list) and len(value) == 3 and all(is_count(number, 4096) for number in value)
    return is_count(value, 2**20)


def arguments_of(args: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The arguments of `fake`, or of `fake_frames` if `frames` is true: those in `data.args`, and defaults.

    `size` is `data.size`, the side of the default shape in pixels, or 0.
    """
    if args.get("frames"):
        defaults = {"shape": (2, size or 48, size or 48), "train_size": 256, "test_size": 64}
    else:
        defaults = {"shape": (3, size or 32, size or 32), "train_size": 1024, "test_size": 256}
    given = {name: value for name, value in args.items() if name != "frames"}
    return {"classes": 10} | defaults | given


def fake(
    *,
    shape: tuple[int, int, int],
    classes: int,
    train_size: int,
    test_size: int,
    seed: int = 0,
) -> "DataSplits":
    """Random pixels of `shape` (channels, height, width) with random labels; the same for the same seed."""
    import torch

    from rbp_engine.data.splits import DataSplits, Images

    draw = torch.Generator().manual_seed(seed)
    train, test = (
        Images(
            torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=draw),
            torch.randint(0, classes, (count,), generator=draw),
        )
        for count in (train_size, test_size)
    )
    return DataSplits(train, test, classes, mean=(0.5,) * shape[0], deviation=(0.25,) * shape[0])


def fake_frames(
    *,
    timesteps: int,
    shape: tuple[int, int, int],
    classes: int,
    train_size: int,
    test_size: int,
) -> "tuple[Samples, Samples]":
    """Random frames, one per timestep, to train and to test on; always the same."""
    from rbp_engine.data.events.cache import Samples

    channels, height, width = shape
    splits = fake(
        shape=(timesteps * channels, height, width),
        classes=classes,
        train_size=train_size,
        test_size=test_size,
    )
    train, test = (
        Samples(side.pixels.view(len(side), timesteps, *shape).numpy(), side.labels.numpy(), scale=1 / 255)
        for side in (splits.train, splits.test)
    )
    return train, test


DATA_SETS = (
    Fake(
        name="fake",
        paper_name="fake",
        title="Random images, for benchmarks only",
        classes=10,
        channels=3,
        image_size=(32, 32),
        default_size=32,
        train_size=1024,
        test_size=256,
        any_size=True,
        origin="drawn from a generator",
        layout="nothing on disk",
        takes=(*FOR_IMAGES, "size", "args"),
        package="torch",
        module="torch",
    ),
)
