"""The conversion of CIFAR10-DVS, of two short recordings per class, by its command and in this process."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from rbp_engine.child import no_progress
from rbp_engine.data.events.cache import load, verify
from rbp_engine.data.events.conversion import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.open_feed import open_feed
from rbp_engine.data.sets.cifar10_dvs import CIFAR10_DVS
from rbp_engine.lease import LeaseHeld, taken
from rbp_engine.preset.sections.data import DataSection
from tests.limits import survives
from tests.recorded_sets import drawn, frames_of, write_cifar10_dvs

LAYOUTS = ("aedat", "npz")
T, EVENTS = 10, 1234
MODULE = "rbp_engine.data.events.convert"


def convert(root, cache, *, on_progress=no_progress, **wanted):
    return CIFAR10_DVS.convert(root, cache, FrameSettings(**wanted), on_progress=on_progress)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for layout in LAYOUTS:
        write_cifar10_dvs(folder / layout, layout, EVENTS)
    return {layout: folder / layout for layout in LAYOUTS}


def command(root, cache, **wanted):
    settings = json.dumps(asdict(FrameSettings(**wanted)))
    return [sys.executable, "-m", MODULE, "cifar10_dvs", str(root), str(cache), settings]


def run(root, cache, **wanted):
    """The exit code, the answer, and what was said of the progress."""
    done = subprocess.run(command(root, cache, **wanted), capture_output=True, text=True, check=False)
    *progress, answer = map(json.loads, done.stdout.splitlines())
    return done.returncode, answer, [one["doing"] for one in progress]


def test_resized_counts_are_fractions_in_a_wider_type(sources, tmp_path):
    assert convert(sources["npz"], tmp_path, timesteps=T).manifest["types"] == {"train": "float16", "test": "float16"}


def test_with_orientation_stored_the_frames_stay_as_in_the_layout(sources, tmp_path):
    done = convert(sources["aedat"], tmp_path, timesteps=T, size=128, orientation="stored")
    t, x, y, p = drawn(3, 0, count=EVENTS)
    assert np.array_equal(done.train.counts[3], frames_of((t, 127 - y, 127 - x, p), T, 128))
    assert done.train.counts.dtype == np.uint8 and isinstance(done.train.counts, np.memmap)
    assert done.manifest["orientation"] == "row y, column x, as stored"


def test_the_command_answers_with_the_manifest_and_says_how_far_it_is(sources, tmp_path):
    wanted = {"timesteps": 4, "frames_by": "time", "split": "first100", "resize": "legacy_pil", "size": 16}
    code, answer, progress = run(sources["aedat"], tmp_path / "cache", **wanted)
    assert code == 0 and progress[-1] == "20/20 recordings"
    assert answer.items() >= (wanted | {"layout": "aedat", "finished": True}).items()
    done = load(Path(answer["folder"]))
    assert done is not None and done.train.counts.shape == (10, 4, 2, 16, 16) and verify(done.folder) == []
    assert done.train.scale == pytest.approx(1 / 255)
    code, answer, _ = run(tmp_path / "nowhere", tmp_path / "cache", timesteps=4)
    assert code == 1 and "holds no CIFAR10-DVS" in answer["problem"]


def copied(sources, layout, tmp_path):
    return Path(shutil.copytree(sources[layout], tmp_path / "set"))


def truncate(path):
    os.truncate(path, path.stat().st_size - 501)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_file_that_cannot_be_read_is_named_with_its_reason_after_all_have_been_tried(sources, tmp_path, layout):
    root = copied(sources, layout, tmp_path)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    bad = {files[3]: "a named pipe", files[7]: "Too many levels", files[12]: "a device", files[15]: "again"}
    for file in bad:
        file.unlink()
    os.mkfifo(files[3])
    files[7].symlink_to(files[7].name)
    files[12].symlink_to("/dev/zero")
    files[15].write_bytes(b"#!AER-DAT2.0\nPK")
    tried = []
    with pytest.raises(Unreadable, match=r"^4 of 20 recordings cannot be read, so none were converted: ") as caught:
        convert(root, tmp_path / "cache", timesteps=T, on_progress=lambda doing, share: tried.append(doing))
    assert set(tried) == {f"{done}/20 recordings" for done in range(1, 21)}
    told = {next(file for file in bad if str(file) in problem): problem for problem in caught.value.problems}
    assert len(caught.value.problems) == len(told) == 4
    assert all(reason in told[file] and "\n" not in told[file] for file, reason in bad.items())
    assert "\n" not in str(caught.value) and list((tmp_path / "cache").glob("*/")) == []


def test_a_second_conversion_reads_no_recording(sources, tmp_path):
    root = copied(sources, "aedat", tmp_path)
    first = convert(root, tmp_path / "cache", timesteps=T)
    for path in root.rglob("*.aedat"):
        known = path.stat()
        path.write_bytes(bytes(known.st_size))
        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    again = convert(root, tmp_path / "cache", timesteps=T)
    assert again.folder == first.folder and np.array_equal(again.test.counts, first.test.counts)


def test_a_recording_of_another_time_is_taken_for_another_one(tmp_path):
    root = tmp_path / "set"
    write_cifar10_dvs(root, "aedat")
    before = convert(root, tmp_path / "cache", timesteps=T)
    os.utime(root / "cat" / "cifar10_cat_900.aedat", (0, 0))
    assert convert(root, tmp_path / "cache", timesteps=T).folder != before.folder


def test_a_damaged_cache_does_not_load_and_is_built_again(sources, tmp_path):
    first = convert(sources["aedat"], tmp_path, timesteps=T)
    content = (first.folder / "train.npy").read_bytes()
    truncate(first.folder / "train.npy")
    assert load(first.folder) is None
    again = convert(sources["aedat"], tmp_path, timesteps=T)
    assert (again.folder / "train.npy").read_bytes() == content
    (again.folder / "train.npy").write_bytes(content[:-1] + b"\x7f")
    assert "train.npy is damaged" in verify(again.folder)[0]


def test_a_conversion_in_progress_refuses_another(sources, tmp_path):
    done = convert(sources["aedat"], tmp_path, timesteps=T)
    shutil.rmtree(done.folder)
    with taken(done.folder.with_suffix(".lock")), pytest.raises(LeaseHeld, match=f"process {os.getpid()}"):
        convert(sources["aedat"], tmp_path, timesteps=T)


def test_a_feed_has_batches_from_the_cache(sources, tmp_path, monkeypatch):
    (tmp_path / "machine.toml").write_text(f'cache = "{tmp_path}"\n[data]\ncifar10_dvs = "{sources["aedat"]}"\n')
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    data = DataSection(name="cifar10_dvs", batch_size=4, flip=True, roll=5)
    feed = open_feed(data, timesteps=5, seed=1, held_out=0.0, device=torch.device("cpu"))
    frames, labels = next(feed.train.epoch(0))
    assert frames.shape == (5, 4, 2, 48, 48) and frames.dtype == torch.float32 and labels.dtype == torch.int64
    assert torch.cat([part for _, part in feed.test]).tolist() == list(range(10))


def test_the_preset_of_the_repairs_that_the_field_names_trains_on_recordings(rbp):
    write_cifar10_dvs(rbp.folder / "data" / "cifar10_dvs", "aedat", EVENTS)
    rbp("train", "cifar10-dvs-tet", "--id", "one", "epochs=1", "T=2", "batch=4", "optim.warmup_epochs=0")
    assert rbp.summary("one")["status"] == "completed"
    assert [event["ema_top1"] is not None for event in rbp.events("one") if event["kind"] == "validation"] == [True]


def test_a_conversion_killed_at_any_point_leaves_the_whole_cache_or_nothing_that_loads(sources, tmp_path):
    """The next one, of other settings too, removes what it has left."""

    def build(cache, size=32):
        def every_tenth(doing, share):
            if doing.partition("/")[0].endswith("0"):
                os.getppid()

        return convert(sources["aedat"], cache, timesteps=4, size=size, on_progress=every_tenth)

    whole = build(tmp_path / "whole").folder
    for calls in itertools.count():
        cache = tmp_path / str(calls)
        if survives(partial(build, cache), calls, "getppid", "mkdir", "rename", "rmdir", "unlink", "fsync"):
            break
        left = load(cache / whole.name)
        assert left is None or verify(left.folder) == []
        kept = {build(cache, size=16).folder.name} | ({whole.name} if left else set())
        assert {path.name for path in cache.iterdir() if path.is_dir()} == kept
        build(cache)
        for name in ("train.npy", "test.npy", "train_labels.npy", "test_labels.npy"):
            assert (cache / whole.name / name).read_bytes() == (whole / name).read_bytes()
    assert calls > 5, "nothing was killed"
