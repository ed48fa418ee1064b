"""DVS128 Gesture: its packets and lists, in folders of two people to train on and one to test on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.conversion import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.errors import DataError
from tests.fuzz.recordings import NO_FILES, problems_of
from tests.limits import within_limits
from tests.recorded_sets import EVENTS, HEADER, packet, recording, start, trial, words, write_gesture

GESTURE = CATALOG["dvs128_gesture"]
assert isinstance(GESTURE, RecordedSet)
WANTED = FrameSettings(4, size=128)


@pytest.fixture
def root(tmp_path):
    write_gesture(tmp_path / "set", "aedat")
    return tmp_path / "set"


def test_a_time_that_has_run_over_2_to_the_31_goes_on(root):
    file, labels = root / "user01_led.aedat", root / "user01_led_labels.csv"
    t, x, y, p = trial("user01_led", 0)
    late = 2**31 + np.arange(EVENTS)
    file.write_bytes(HEADER + packet(words(t, x, y, p)) + packet(words(late - 2**31, x, y, p), overflows=1))
    labels.write_text(f"class,startTime_usec,endTime_usec\n1,{start(0)},{2**31}\n2,{2**31},{2**31 + 99}\n")
    assert problems_of(GESTURE, root) == []


def test_each_damaged_recording_is_named_and_nothing_is_kept(root, tmp_path):
    t, x, y, p = trial("user24_fluorescent", 0)
    backwards = HEADER + packet(words(t[::-1], x, y, p))
    contents: dict[bytes, str] = {
        recording("user24_fluorescent")[:-3]: "ends within a packet",
        HEADER[:-3]: "ends within its header",
        b"#!AER-DAT2.0\r\n" + bytes(80): "is no AEDAT 3.1",
        b"": "is no AEDAT 3.1",
        HEADER + packet(words(t, np.where(x == x.max(), 128, x), y, p)): "the column 128, expected 0 to 127",
        HEADER + packet(words(t, x, np.where(y == y.max(), 300, y), p)): "the row 300, expected 0 to 127",
        backwards: f"its time runs backwards, from {t[-1]} to {t[-2]} µs",
        HEADER: "0 events cannot fill 4 timesteps",
        HEADER + packet(b"", size=8, count=2**31): "a packet of 2147483648 events of 8 bytes",
        HEADER + packet(bytes(9), size=9): "a packet of 1 events of 9 bytes",
    }
    (root / "user24_fluorescent_labels.csv").write_text(f"1,{start(0)},{start(0) + 500_000}\n")
    for content, reason in contents.items():
        (root / "user24_fluorescent.aedat").write_bytes(content)
        with pytest.raises(Unreadable) as caught:
            GESTURE.convert(root, tmp_path / "frames", WANTED)
        [problem] = caught.value.problems
        assert problem.startswith(str(root / "user24_fluorescent.aedat")) and reason in problem and "\n" not in problem
        assert list((tmp_path / "frames").glob("*/")) == []


def test_a_folder_of_a_class_or_a_part_that_is_missing_is_named(tmp_path):
    root = tmp_path / "set"
    write_gesture(root, "npz")
    shutil.rmtree(root / "events_np" / "test" / "7")
    with pytest.raises(DataError, match="test/7: the folder of a class is missing"):
        GESTURE.convert(root, tmp_path / "frames", WANTED)
    shutil.rmtree(root / "events_np" / "test")
    with pytest.raises(DataError, match="holds no DVS128 Gesture: looked for"):
        GESTURE.convert(root, tmp_path / "frames", WANTED)


def commented(path: Path) -> None:
    path.write_bytes(HEADER[:14] + b"#\r\n" * 2_000_000)


def crowded(path: Path) -> None:
    """Hundreds of thousands of packets without an event."""
    path.write_bytes(HEADER + packet(b"") * 300_000)


def repeated(path: Path) -> None:
    """More events in a trial than any has."""
    one = words(*(np.full(2**16, value) for value in (start(0), 1, 1, 1)))
    path.write_bytes(HEADER + packet(one) * 65)


HARM = [
    *NO_FILES,
    (commented, "ends within its header"),
    (crowded, "more than 262144 packets"),
    (repeated, "more than 4194304 events in a trial"),
]


def test_hostile_files_are_one_sentence_in_little_time_and_memory(root, tmp_path):
    roots = []
    (root / "user24_fluorescent_labels.csv").write_text(f"1,{start(0)},{start(0) + 500_000}\n")
    for place, (harm, _) in enumerate(HARM):
        roots.append(Path(shutil.copytree(root, tmp_path / str(place))))
        harm(roots[-1] / "user24_fluorescent.aedat")
    found = within_limits(lambda root: GESTURE.check([root]), roots)
    for one, (_, reason), problems in zip(roots, HARM, found, strict=True):
        [problem] = problems
        assert problem.startswith(str(one / "user24_fluorescent.aedat")) and reason in problem and "\n" not in problem
