"""DVS128 Gesture from files with the bytes of each layout: two people to train on, one to test on."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.conversion import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet
from rbp_engine.errors import DataError
from tests.fuzz.recordings import NO_FILES, broken_promises, problems_of
from tests.limits import within_limits

GESTURE = CATALOG["dvs128_gesture"]
assert isinstance(GESTURE, RecordedSet)
LAYOUTS = ("aedat", "npz", "npy")
PEOPLE = {"train": ("user01_led", "user02_natural"), "test": ("user24_fluorescent",)}
EVENTS = 80
HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
WANTED = FrameSettings(4, size=128)


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "machine.toml").write_text(
        f"cache = '{tmp_path / 'cache'}'\n[data]\ndvs128_gesture = '{tmp_path / 'set'}'\n"
    )
    monkeypatch.setenv("RBP_CONFIG", str(folder))
    return folder


def trial(person: str, label: int) -> tuple[np.ndarray, ...]:
    """Times, columns, rows and polarities."""
    draw = np.random.default_rng([int(person[4:6]), label])
    # Asymmetric on purpose: every wrong orientation gives different frames.
    x, y, p = draw.integers(0, 90, EVENTS), draw.integers(40, 128, EVENTS), draw.integers(0, 2, EVENTS)
    return np.sort(draw.integers(0, 500, EVENTS)) * 1000 + start(label), x, y, p


def start(label: int) -> int:
    return 1_000_000 * (label + 1)


def packet(events: bytes, kind: int = 1, size: int = 8, overflows: int = 0, count: int | None = None) -> bytes:
    count = len(events) // size if count is None else count
    return struct.pack("<HHIIIIII", kind, 1, size, 4, overflows, count, count, count) + events


def words(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, valid: int = 1) -> bytes:
    return np.stack([x << 17 | y << 2 | p << 1 | valid, t], axis=1).astype("<u4").tobytes()


def recording(person: str) -> bytes:
    """Trials in packets of 32 events, with packets of other events and events that are invalid in between."""
    content = HEADER
    for label in range(11):
        whole = trial(person, label)
        for place in range(0, EVENTS, 32):
            content += packet(bytes(20), kind=3, size=20)
            content += packet(words(*(values[place : place + 32] for values in whole)))
        content += packet(words(*(values[-1:] for values in whole), valid=0))
        # Between the trials.
        content += packet(words(*(np.array([value]) for value in (start(label) + 700_000, 1, 1, 1))))
    return content


def write(root: Path, layout: str) -> Path:
    for part, people in PEOPLE.items():
        for person in people:
            for label in range(11):
                events = trial(person, label)
                if layout == "npz":
                    path = root / "events_np" / part / str(label) / f"{person}_{label}.npz"
                elif layout == "npy":
                    path = root / f"ibmGesture{part.title()}" / person / f"{label}.npy"
                else:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                if layout == "npz":
                    np.savez(path, **dict(zip("txyp", events, strict=True)))
                else:
                    t, *others = events
                    np.save(path, np.stack([*others, t / 1000], axis=1))
            if layout == "aedat":
                root.mkdir(parents=True, exist_ok=True)
                (root / f"{person}.aedat").write_bytes(recording(person))
                rows = [f"{label + 1},{start(label)},{start(label) + 500_000}" for label in range(11)]
                lines = ["class,startTime_usec,endTime_usec", *rows]
                (root / f"{person}_labels.csv").write_text("\n".join(lines) + "\n")
        if layout == "aedat":
            (root / f"trials_to_{part}.txt").write_text("\n".join(f"{person}.aedat" for person in people) + "\n\n")
    return root


def frames_of(events: tuple[np.ndarray, ...]) -> np.ndarray:
    frames = np.zeros((4, 2, 128, 128), np.int64)
    for place, (_, x, y, p) in enumerate(zip(*(values.tolist() for values in events), strict=True)):
        frames[place // (EVENTS // 4), p, y, x] += 1
    return frames


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_trial_gives_the_same_frames_from_every_layout(tmp_path, layout):
    done = GESTURE.convert(write(tmp_path / "set", layout), tmp_path / "frames", WANTED)
    for part, people in ((done.train, PEOPLE["train"]), (done.test, PEOPLE["test"])):
        found = sorted(
            (label, frames.tobytes()) for label, frames in zip(part.labels.tolist(), part.counts, strict=True)
        )
        expected = [
            (label, frames_of(trial(person, label)).astype(np.uint8)) for person in people for label in range(11)
        ]
        assert found == sorted((label, frames.tobytes()) for label, frames in expected)
    assert done.manifest["remarks"] == [] and len(GESTURE.class_names) == GESTURE.classes == 11


def test_it_is_found_in_its_own_folder_and_in_the_one_above(tmp_path):
    root = write(tmp_path / "DvsGesture", "aedat")
    assert GESTURE.find([root]).path == GESTURE.find([tmp_path]).path == root
    elsewhere = root.rename(tmp_path / "downloads")
    assert GESTURE.find([elsewhere]).path == elsewhere
    nowhere = GESTURE.find([tmp_path / "nowhere"])
    assert not nowhere.found and "research.ibm.com" in nowhere.remedy


def test_a_time_that_has_run_over_2_to_the_31_goes_on(tmp_path):
    root = write(tmp_path / "set", "aedat")
    file, labels = root / "user01_led.aedat", root / "user01_led_labels.csv"
    t, x, y, p = trial("user01_led", 0)
    late = 2**31 + np.arange(EVENTS)
    file.write_bytes(HEADER + packet(words(t, x, y, p)) + packet(words(late - 2**31, x, y, p), overflows=1))
    labels.write_text(f"class,startTime_usec,endTime_usec\n1,{start(0)},{2**31}\n2,{2**31},{2**31 + 99}\n")
    assert problems_of(GESTURE, root) == []


def test_each_damaged_recording_is_named_and_nothing_is_kept(tmp_path):
    root = write(tmp_path / "set", "aedat")
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


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("trials_to_train.txt", "../user01_led.aedat\n", "line 1 names no recording"),
        ("trials_to_train.txt", "\n", "has no trial"),
        ("user01_led_labels.csv", "class,start,end\n12,1,2\n", "line 2 is not a class of 1 to 11 and two times"),
        ("user01_led_labels.csv", "class,start,end\n1,1\n", "line 2 is not a class"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, file, content, message):
    root = write(tmp_path / "set", "aedat")
    (root / file).write_text(content)
    with pytest.raises(DataError, match=message):
        GESTURE.convert(root, tmp_path / "frames", WANTED)


def test_a_folder_of_a_class_or_a_part_that_is_missing_is_named(tmp_path):
    root = write(tmp_path / "set", "npz")
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


def test_hostile_files_are_one_sentence_in_little_time_and_memory(tmp_path):
    whole, roots = write(tmp_path / "whole", "aedat"), []
    (whole / "user24_fluorescent_labels.csv").write_text(f"1,{start(0)},{start(0) + 500_000}\n")
    for place, (harm, _) in enumerate(HARM):
        roots.append(Path(shutil.copytree(whole, tmp_path / str(place))))
        harm(roots[-1] / "user24_fluorescent.aedat")
    found = within_limits(lambda root: GESTURE.check([root]), roots)
    for root, (_, reason), problems in zip(roots, HARM, found, strict=True):
        [problem] = problems
        assert problem.startswith(str(root / "user24_fluorescent.aedat")) and reason in problem and "\n" not in problem


@pytest.mark.parametrize("layout", ["aedat", "npy"])
def test_whatever_bytes_are_changed_a_trial_is_read_or_named(tmp_path, layout):
    root = write(tmp_path / "whole", layout)
    assert problems_of(GESTURE, root) == []
    assert broken_promises(GESTURE, root) == []
