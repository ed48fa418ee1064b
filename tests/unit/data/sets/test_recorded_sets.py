"""What holds for every set of recordings, in each layout that people have it in."""

from pathlib import Path

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.errors import DataError
from tests import recorded_sets as sets
from tests.fuzz.recordings import broken_promises, problems_of

T = 4
SETS = {
    "cifar10_dvs": (sets.write_cifar10_dvs, ("aedat", "npz")),
    "nmnist": (sets.write_nmnist, ("bin", "npz", "extract")),
    "nmnist_small": (sets.write_nmnist_small, ("bs2",)),
    "dvs128_gesture": (sets.write_gesture, ("aedat", "npy", "npz")),
}
LAYOUTS = [(name, layout) for name, (_, layouts) in SETS.items() for layout in layouts]


def written(name: str, root: Path, layout: str = "") -> tuple[RecordedSet, sets.Parts]:
    """A set in its first or another layout, and what it holds."""
    found, (write, layouts) = CATALOG[name], SETS[name]
    assert isinstance(found, RecordedSet)
    return found, write(root, layout or layouts[0])


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_a_recording_gives_the_same_frames_from_every_layout(tmp_path, name, layout):
    the_set, parts = written(name, tmp_path / "set", layout)
    side = the_set.image_size[0]
    done = the_set.convert(tmp_path / "set", tmp_path / "frames", FrameSettings(T, size=side))
    for part, recordings in zip((done.train, done.test), parts, strict=True):
        found = [(label, frames.tobytes()) for label, frames in zip(part.labels.tolist(), part.counts, strict=True)]
        expected = [(label, sets.frames_of(events, T, side).astype(np.uint8).tobytes()) for label, events in recordings]
        assert sorted(found) == sorted(expected)
    assert bool(done.manifest["remarks"]) == (name in ("cifar10_dvs", "nmnist"))  # of missing recordings
    assert len(the_set.class_names) == the_set.classes


@pytest.mark.parametrize("name", SETS)
def test_it_is_found_in_its_own_folder_and_in_the_one_above(tmp_path, name):
    root = tmp_path / CATALOG[name].folder
    the_set, _ = written(name, root)
    assert the_set.find([root]).path == the_set.find([tmp_path]).path == root
    elsewhere = root.rename(tmp_path / "downloads")
    assert the_set.find([elsewhere]).path == elsewhere
    nowhere = the_set.find([tmp_path / "nowhere"])
    assert not nowhere.found and the_set.origin in nowhere.remedy


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("nmnist_small", "train1K.txt", "1 5\n1 6\n", "line 2 is not a recording and its digit, once"),
        ("nmnist_small", "train1K.txt", "../../etc/passwd 5\n", "line 1 is not a recording"),
        ("nmnist_small", "train1K.txt", "1 11\n", "line 1 is not a recording"),
        ("nmnist_small", "train1K.txt", "#sample #class\n", "lists no recording"),
        ("dvs128_gesture", "trials_to_train.txt", "../user01_led.aedat\n", "line 1 names no recording"),
        ("dvs128_gesture", "trials_to_train.txt", "\n", "has no trial"),
        ("dvs128_gesture", "user01_led_labels.csv", "c\n12,1,2\n", "line 2 is not a class of 1 to 11 and two times"),
        ("dvs128_gesture", "user01_led_labels.csv", "c\n1,1\n", "line 2 is not a class"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, name, file, content, message):
    the_set, _ = written(name, tmp_path / "set")
    (tmp_path / "set" / file).write_text(content)
    with pytest.raises(DataError, match=message):
        the_set.convert(tmp_path / "set", tmp_path / "frames", FrameSettings(T, size=the_set.image_size[0]))


@pytest.mark.parametrize(
    ("name", "layout"), [one for one in LAYOUTS if one[1] not in ("npz", "extract")] + LAYOUTS[1:2]
)
def test_whatever_bytes_are_changed_a_recording_is_read_or_named(tmp_path, name, layout):
    the_set, _ = written(name, tmp_path / "set", layout)
    assert problems_of(the_set, tmp_path / "set") == []
    assert broken_promises(the_set, tmp_path / "set") == []
