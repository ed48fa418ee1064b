"""Synthetic events and sequences made from `digits`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from rbp_engine.data.data_set import DataSet, Kind
from rbp_engine.data.sets.digits import DIGITS

if TYPE_CHECKING:
    from rbp_engine.data.feed import Feed, Opening

_ORIGIN: Final = "made from digits, which comes with rbp"


@dataclass(frozen=True, kw_only=True)
class Synthetic(DataSet):
    """Frames that are made when a run starts, by the function of the set's name, and kept in memory."""

    kind: ClassVar[Kind] = "synthetic"
    takes: tuple[str, ...] = ("roll", "cutout")

    def open(self, opening: "Opening") -> "Feed":
        from rbp_engine.data.events import synthetic
        from rbp_engine.data.events.feed import event_feed

        train, test = getattr(synthetic, self.name)(opening.timesteps)
        return event_feed(train, test, self.classes, opening, self.class_names)

    def problems(self, folder: Path | None) -> list[str]:
        return DIGITS.problems(folder)


DATA_SETS = (
    Synthetic(
        name="moving_digits",
        paper_name="moving_digits",
        title="Moving digits, synthetic events made from digits",
        classes=DIGITS.classes,
        class_names=DIGITS.class_names,
        channels=2,
        image_size=(16, 16),
        train_size=DIGITS.train_size,
        test_size=DIGITS.test_size,
        origin=_ORIGIN,
        layout=DIGITS.layout,
        package=DIGITS.package,
        module=DIGITS.module,
    ),
    Synthetic(
        name="sequential_digits",
        paper_name="sequential_digits",
        title="Digits row by row, a synthetic sequence of 8 timesteps",
        classes=DIGITS.classes,
        class_names=DIGITS.class_names,
        channels=1,
        image_size=DIGITS.image_size,
        timesteps=8,
        train_size=DIGITS.train_size,
        test_size=DIGITS.test_size,
        origin=_ORIGIN,
        layout=DIGITS.layout,
        package=DIGITS.package,
        module=DIGITS.module,
    ),
)
