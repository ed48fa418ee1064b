"""How a folder's layout is recognised from names alone; the files here are empty."""

import re
from pathlib import Path

import pytest

from rbp_engine.data.events.plan import index_hash
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES
from rbp_engine.data.sets.cifar10_dvs import CIFAR10_DVS, list_recordings, split_recordings
from rbp_engine.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def by_class(folder: str, suffix: str, numbers: range) -> list[str]:
    return [f"{folder}{name}/cifar10_{name}_{number}.{suffix}" for name in CLASSES for number in numbers]


@pytest.mark.parametrize(
    ("folder", "suffix", "layout"),
    [("", "aedat", "aedat"), ("extract", "aedat", "aedat"), ("events_np", "npz", "events"), ("", "npz", "events")],
)
def test_each_layout_is_recognised(tmp_path, folder, suffix, layout):
    touch(tmp_path / folder, f"cat/cifar10_cat_7.{suffix}")
    assert CIFAR10_DVS.place(tmp_path) == (layout, [tmp_path / folder])
    assert CIFAR10_DVS.missing(tmp_path) == []


def test_of_two_layouts_the_events_of_spikingjelly_are_read_unless_they_are_unfinished(tmp_path):
    touch(tmp_path, "extract/cat/cifar10_cat_7.aedat", "events_np/cat/cifar10_cat_7.npz")
    assert CIFAR10_DVS.place(tmp_path)[0] == "events"
    touch(tmp_path, "events_np.building")
    assert CIFAR10_DVS.place(tmp_path)[0] == "aedat"


@pytest.mark.parametrize(
    "names",
    [
        ["airplane.zip", "bird.zip"],
        ["airplane/cifar10_airplane_0.aedat4"],
        ["events_np/cat/cifar10_cat_0.npz", "events_np.building"],
        [],
    ],
)
def test_an_unreadable_folder_gives_one_message_with_a_remedy(tmp_path, names):
    [problem] = CIFAR10_DVS.missing(touch(tmp_path, *names))
    message = r"holds no CIFAR10-DVS: looked for .*AEDAT 2.0.*without events_np.building; get it .*figshare.*; unpack"
    assert re.search(message, problem) and str(tmp_path) in problem and "\n" not in problem


def test_splits_follow_the_number_in_the_name(tmp_path):
    touch(tmp_path, *by_class("", "aedat", range(1000)))
    recordings, gaps = list_recordings("aedat", tmp_path)
    assert (len(recordings), gaps) == (10_000, [])
    last = split_recordings(recordings, "last100")
    first = split_recordings(recordings, "first100")
    drawn = split_recordings(recordings, "random")
    assert {one.number for one in last[1]} == set(range(900, 1000))
    assert {one.number for one in first[1]} == set(range(100))
    assert [sum(one.label == label for one in drawn[1]) for label in range(10)] == [100] * 10
    assert drawn == split_recordings(recordings, "random")
    assert len({index_hash(split, CLASSES) for split in (last, first, drawn)}) == 3
    for train, test in (last, first, drawn):
        assert len({*train, *test}) == len(train) + len(test) == 10_000


def test_the_hash_of_a_split_does_not_depend_on_the_layout(tmp_path):
    aedat = touch(tmp_path / "a", *by_class("", "aedat", range(890, 910)))
    npz = touch(tmp_path / "b", *by_class("events_np/", "npz", range(890, 910)))
    hashes = {
        index_hash(split_recordings(list_recordings(layout, folder)[0], "last100"), CLASSES)
        for layout, [folder] in map(CIFAR10_DVS.place, (aedat, npz))
    }
    assert len(hashes) == 1


def test_a_missing_class_and_missing_files_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *by_class("", "aedat", range(898, 903)), "cat/notes.txt")
    recordings, gaps = list_recordings("aedat", tmp_path)
    assert [one.path.name for one in recordings if one.path.parent.name == "cat"] == [
        f"cifar10_cat_{number}.aedat" for number in range(898, 903)
    ]
    assert f"{tmp_path}/bird: 995 of 1000 recordings are missing, the first is number 0" in gaps
    for file in (tmp_path / "bird").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"bird has no recording: unpack"):
        list_recordings("aedat", tmp_path)
    (tmp_path / "bird").rmdir()
    with pytest.raises(DataError, match=r"bird: the folder of a class is missing: unpack"):
        list_recordings("aedat", tmp_path)


def test_an_empty_part_of_a_split_is_refused(tmp_path):
    touch(tmp_path, *by_class("", "aedat", range(5)))
    recordings, _ = list_recordings("aedat", tmp_path)
    with pytest.raises(DataError, match="no recording for the test part of the split last100"):
        split_recordings(recordings, "last100")
