"""How a folder's layout is recognised from names alone; the files here are empty."""

from pathlib import Path

import pytest

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.plan import index_hash
from rbp_engine.data.readers.cifar10_dvs.layouts import detect, why_none
from rbp_engine.data.readers.cifar10_dvs.recordings import list_recordings, split_recordings
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def by_class(folder: str, suffix: str, numbers: range) -> list[str]:
    return [f"{folder}{name}/cifar10_{name}_{number}.{suffix}" for name in CLASSES for number in numbers]


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["airplane/cifar10_airplane_0.aedat"], "aedat"),
        (["extract/cat/cifar10_cat_7.aedat"], "aedat"),
        (["events_np/airplane/cifar10_airplane_0.npz"], "events"),
        (["frames_number_10_split_by_number/airplane/cifar10_airplane_0.npz"], "frames"),
    ],
)
def test_each_layout_is_recognised(tmp_path, names, files):
    assert detect(touch(tmp_path, *names), timesteps=10, frames_by="number").files == files
    assert why_none(tmp_path) == ""


def test_the_folder_of_the_frames_can_be_given_directly(tmp_path):
    touch(tmp_path, "frames_number_4_split_by_time/airplane/cifar10_airplane_0.npz")
    found = detect(tmp_path / "frames_number_4_split_by_time", timesteps=4, frames_by="time")
    assert found.folder == tmp_path / "frames_number_4_split_by_time"


def test_frames_of_any_number_of_steps_are_found_and_an_empty_folder_gives_a_remedy(tmp_path):
    assert "holds no CIFAR10-DVS: looked for" in why_none(tmp_path)
    assert "is no folder" in why_none(tmp_path / "elsewhere")
    touch(tmp_path, "frames_number_4_split_by_time/cat/cifar10_cat_0.npz")
    assert why_none(tmp_path) == ""


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["airplane.zip", "bird.zip"], r"still zipped: unpack it with .*unzip"),
        (["download/cat.zip"], r"download holds CIFAR10-DVS still zipped"),
        (["airplane/cifar10_airplane_0.aedat4"], r"AEDAT 4 \(tonic's\).*events_np/CLASS/cifar10_CLASS_NUMBER\.npz"),
        (["CIFAR10DVS.zip"], r"AEDAT 4"),
        (
            ["frames_number_8_split_by_time/cat/cifar10_cat_0.npz"],
            r"no frames_number_10_split_by_number, but .*\(frames_number_8_split_by_time\): ask for those",
        ),
        (
            ["frames_number_10_split_by_number/cat/cifar10_cat_0.npz", "frames_number_10_split_by_number.building"],
            r"frames_number_10_split_by_number is unfinished.*delete both",
        ),
        (["train/0.pt", "test/0.pt"], r"published code .* not read: take the AEDAT 2.0 files"),
        (["frames_num_10_split_by_number_normalization_None/cat/cifar10_cat_0.npz"], r"an old SpikingJelly stores"),
        (["train/a/b.JPEG", "test/a/b.JPEG"], r"holds no CIFAR10-DVS"),
        (["readme.txt"], r"holds no CIFAR10-DVS: looked for .*figshare"),
    ],
)
def test_an_unreadable_folder_gives_one_message_with_a_remedy(tmp_path, names, message):
    with pytest.raises(EventDataError, match=message) as caught:
        detect(touch(tmp_path, *names), timesteps=10, frames_by="number")
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_splits_follow_the_number_in_the_name(tmp_path):
    touch(tmp_path, *by_class("", "aedat", range(1000)))
    listing = list_recordings(detect(tmp_path, timesteps=10, frames_by="number"))
    recordings = listing.recordings
    assert (len(recordings), listing.gaps) == (10_000, ())
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
        index_hash(split_recordings(list_recordings(found).recordings, "last100"), CLASSES)
        for found in (detect(root, timesteps=6, frames_by="time") for root in (aedat, npz))
    }
    assert len(hashes) == 1


def test_a_missing_class_and_missing_files_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *by_class("", "aedat", range(898, 903)), "cat/notes.txt")
    found = detect(tmp_path, timesteps=10, frames_by="number")
    listing = list_recordings(found)
    assert [one.path.name for one in listing.recordings if one.path.parent.name == "cat"] == [
        f"cifar10_cat_{number}.aedat" for number in range(898, 903)
    ]
    assert f"{tmp_path}/bird: 995 of 1000 recordings are missing, the first is number 0" in listing.gaps
    for file in (tmp_path / "bird").iterdir():
        file.unlink()
    with pytest.raises(EventDataError, match=r"bird has no cifar10_bird_0\.aedat"):
        list_recordings(found)
    (tmp_path / "bird").rmdir()
    with pytest.raises(EventDataError, match=r"bird: the class bird is missing: unpack"):
        list_recordings(found)
    touch(tmp_path, "bird.zip")
    with pytest.raises(EventDataError, match=r"bird\.zip is still zipped"):
        list_recordings(found)


def test_an_empty_part_of_a_split_is_refused(tmp_path):
    touch(tmp_path, *by_class("", "aedat", range(5)))
    recordings = list_recordings(detect(tmp_path, timesteps=10, frames_by="number")).recordings
    with pytest.raises(EventDataError, match="no recording for the test part of the split last100"):
        split_recordings(recordings, "last100")
