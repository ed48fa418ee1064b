"""CIFAR10-DVS: recordings of CIFAR-10's images before an event camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.data.events.plan import FrameSettings, Plan, Recording
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.data.readers.cifar10_dvs.layouts import PAGE, detect, holds_any, look
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES


@dataclass(frozen=True, kw_only=True)
class Cifar10Dvs(RecordedSet):
    """1000 recordings of each class, in one of four layouts."""

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        from rbp_engine.data.readers.cifar10_dvs.decode import decode
        from rbp_engine.data.readers.cifar10_dvs.labels import check_labels
        from rbp_engine.data.readers.cifar10_dvs.orientation import describe, to_canonical
        from rbp_engine.data.readers.cifar10_dvs.recordings import list_recordings, split_recordings

        timesteps, frames_by, layout = wanted.timesteps, wanted.frames_by, wanted.layout
        found = detect(root, timesteps=timesteps, frames_by=frames_by, layout=layout)
        listing = list_recordings(found)
        chosen = split_recordings(listing.recordings, wanted.split, layout=found.layout)
        stored: dict[Path, Any] = {}

        def read(recording: Recording) -> Any:
            frames, label = decode(found, recording.path, timesteps=timesteps, frames_by=frames_by)
            if label is not None:
                stored[recording.path] = label
            return to_canonical(frames, found.layout) if wanted.orientation == "canonical" else frames

        def judge(part: Any) -> list[str]:
            return check_labels(part, [stored[one.path] for one in part]) if stored else []

        settings = {
            "source": str(found.folder),
            "layout": found.layout,
            "orientation": describe(found.layout, wanted.orientation),
            "split": chosen.name,
            "index_sha256": chosen.sha256,
        }
        files = [one.path for one in listing.recordings]
        return Plan(chosen.train, chosen.test, files, settings, listing.strays, listing.gaps, read, judge)

    def problems_of_files(self, folder: Path) -> list[str]:
        """Looks at how recordings begin, in each layout."""
        from rbp_engine.data.readers.cifar10_dvs.inspection import check_recordings

        return check_recordings(folder)

    def holds_some(self, root: Path) -> bool:
        return holds_any(root)

    def missing(self, folder: Path) -> list[str]:
        layouts, message = look(folder)
        return [] if layouts else [message]

    def incomplete(self, folder: Path) -> str:
        return ", ".join(self.missing(folder))


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
    layout="AEDAT 2.0 recordings by class, SpikingJelly's or older frames, or train/ and test/ tensors",
    takes=("roll", "size", "frames_by", "split", "resize", "orientation"),
    by_hand=f"{PAGE}; unpack the ten archives into one folder",
    folder="cifar10_dvs",
)
DATA_SETS = (CIFAR10_DVS,)
