"""CIFAR10-DVS: recordings of CIFAR-10's images before an event camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.data.events.plan import FrameSettings, Plan, Recording
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.data.readers.cifar10_dvs.layouts import PAGE, detect, holds_any, why_none
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES


@dataclass(frozen=True, kw_only=True)
class Cifar10Dvs(RecordedSet):
    """1000 recordings of each class."""

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        from rbp_engine.data.readers.cifar10_dvs.decode import decode, describe
        from rbp_engine.data.readers.cifar10_dvs.recordings import list_recordings, split_recordings

        slices: dict[str, Any] = {"timesteps": wanted.timesteps, "frames_by": wanted.frames_by}
        found = detect(root, **slices)
        listing = list_recordings(found)

        def read(recording: Recording) -> Any:
            return decode(found, recording.path, orientation=wanted.orientation, **slices)

        return self.planned(
            found.folder,
            found.files,
            split_recordings(listing.recordings, wanted.split),
            [one.path for one in listing.recordings],
            read,
            listing.gaps,
            split=wanted.split,
            orientation=describe(found, wanted.orientation),
        )

    def problems_of_files(self, folder: Path) -> list[str]:
        """Looks at how recordings begin, in each layout."""
        from rbp_engine.data.readers.cifar10_dvs.recordings import check_recordings

        return check_recordings(folder)

    def holds_some(self, root: Path) -> bool:
        return holds_any(root)

    def missing(self, folder: Path) -> list[str]:
        message = why_none(folder)
        return [message] if message else []

    def incomplete(self, folder: Path) -> str:
        return why_none(folder)


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
    layout="AEDAT 2.0 recordings by class, or events_np/ or frames_number_T_split_by_…/ of SpikingJelly",
    takes=("roll", "size", "frames_by", "split", "resize", "orientation"),
    by_hand=f"{PAGE}; unpack the ten archives into one folder",
    folder="cifar10_dvs",
)
DATA_SETS = (CIFAR10_DVS,)
