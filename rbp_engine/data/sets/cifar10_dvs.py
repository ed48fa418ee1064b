"""CIFAR10-DVS: recordings of CIFAR-10's images before an event camera.

x and y are the two parts of the raw address in the AEDAT 2.0 file. It stores rows of y and columns of x; SpikingJelly
turns them. A network trained on frames of one orientation is wrong on those of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rbp_engine.data.events.plan import FrameSettings, Plan, Recording
from rbp_engine.data.events.recorded import RecordedSet, events_of_spikingjelly
from rbp_engine.data.readers.cifar10_dvs import PAGE, find_layout, holds_any, list_recordings, split_recordings
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES

_CANONICAL: Final = "row 127-x, column 127-y"


@dataclass(frozen=True, kw_only=True)
class Cifar10Dvs(RecordedSet):
    """1000 recordings of each class."""

    def place(self, root: Path) -> tuple[str, Sequence[Path]]:
        layout, folder = find_layout(root)
        return layout, [folder]

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        from rbp_engine.data.events.aedat import read_aedat

        layout, [folder] = self.place(root)
        recordings, gaps = list_recordings(layout, folder)
        turned, stored = layout == "aedat" and wanted.orientation == "canonical", layout == "events"
        side = self.image_size[0]

        def events(recording: Recording) -> Sequence[Any]:
            times, x, y, polarities = events_of_spikingjelly(recording) if stored else read_aedat(recording.path)
            return (times, side - 1 - y, side - 1 - x, polarities) if turned else (times, x, y, polarities)

        return self.planned(
            wanted,
            folder,
            layout,
            split_recordings(recordings, wanted.split),
            events,
            gaps=gaps,
            # Its events are counted in the order in which they were stored, whatever their times.
            in_order=False,
            split=wanted.split,
            orientation=(_CANONICAL if turned or stored else "row y, column x")
            + (", turned from row y, column x" if turned else ", as stored"),
        )

    def holds_some(self, root: Path) -> bool:
        return holds_any(root)


CIFAR10_DVS = Cifar10Dvs(
    name="cifar10_dvs",
    paper_name="CIFAR10-DVS",
    title="CIFAR10-DVS, events",
    classes=10,
    class_names=CIFAR10_CLASSES,
    channels=2,
    image_size=(128, 128),
    default_size=48,
    train_size=9_000,
    test_size=1_000,
    origin=f"{PAGE}, by hand",
    layout="AEDAT 2.0 recordings by class, or events_np/ of SpikingJelly",
    takes=("roll", "size", "frames_by", "split", "resize", "orientation"),
    by_hand=f"{PAGE}; unpack the ten archives into one folder",
    folder="cifar10_dvs",
)
DATA_SETS = (CIFAR10_DVS,)
