"""Folders of images as a data set: real files, found through machine.toml, trained by `rbp train`."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from rbp_engine.data.open_feed import open_feed
from rbp_engine.data.readers.folder_set import check_folder_set
from rbp_engine.errors import DataError
from rbp_engine.preset import load_preset
from rbp_engine.run.request import with_folder_data

CLASSES = ("bright", "dark", "grey")
TRAIN, TEST, SIDE = 8, 4, 8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Images of three brightnesses, 8×8 pixels, of which some are grey-scale files and one side is called test."""
    root, draw = tmp_path_factory.mktemp("shades"), np.random.default_rng(0)
    for side, count in (("train", TRAIN), ("test", TEST)):
        for name, level in zip(CLASSES, (200, 30, 110), strict=True):
            (root / side / name).mkdir(parents=True)
            for number in range(count):
                pixels = (level + draw.integers(-25, 25, (SIDE, SIDE, 3))).astype(np.uint8)
                image = Image.fromarray(pixels).convert("L" if number % 3 == 0 else "RGB")
                image.save(root / side / name / f"{number}{('.png', '.jpg')[number % 2]}")
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "shades")


@pytest.fixture
def rbp(rbp, tmp_path, root):
    """The command, for a user who has added the set."""
    rbp.environment["RBP_CONFIG"] = str(tmp_path / "config")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text(f'[data]\n"folder:shades" = "{root}"\n')
    return partial(rbp, code=None)


@pytest.fixture
def feed_of(root, monkeypatch):
    """Opens the set, found below `$RBP_DATA`, with the words of a preset."""
    monkeypatch.setenv("RBP_DATA", str(root.parent))

    def opened(*words):
        data = load_preset("digits", ["data=folder:shades", "batch=6", "data.crop_padding=0", *words]).preset.data
        return open_feed(data, timesteps=2, seed=1, held_out=0.0, device=torch.device("cpu"))

    return opened


def train(rbp, *words, epochs=1):
    return rbp("train", "digits", "data=folder:shades", f"epochs={epochs}", "batch=6", "T=2", *words)


def experiment(name):
    return with_folder_data(load_preset("digits", [f"data=folder:{name}"])).experiment


def test_a_folder_of_images_is_added_trained_listed_and_checked(rbp, root):
    (root.parent / "config" / "machine.toml").unlink()
    assert rbp("data", "add", "folder:shades", str(root)).returncode == 0
    done = train(rbp, "--id", "shades", "--json", epochs=4)
    assert done.returncode == 0, done.stderr
    summary = rbp.func.summary("shades")
    assert summary["status"] == "completed" and summary["best"]["top1"] > 0.9
    listed = {row["name"]: row for row in json.loads(rbp("data", "list", "--json").stdout)}
    assert listed["folder:shades"]["found"] and listed["folder:shades"]["path"] == str(root)
    assert rbp("data", "check", "folder:shades").returncode == 0


def test_the_names_and_sizes_of_the_images_are_the_experiment_and_not_the_name_of_the_set(root, monkeypatch):
    monkeypatch.setenv("RBP_DATA", str(root.parent))
    first = experiment("shades")
    elsewhere = shutil.copytree(root, root.parent / "elsewhere")
    (elsewhere / "test").rename(elsewhere / "val")
    assert experiment("elsewhere") == first
    (root / "train" / "dark" / "1.jpg").write_bytes((root / "train" / "dark" / "3.jpg").read_bytes() + b"\0")
    assert experiment("shades") != first


def test_images_become_rgb_in_memory_normalised_by_the_training_images(feed_of, root):
    feed = feed_of()
    files = sorted((root / "train").glob("*/*"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file).convert("RGB"))) for file in files]) / 255.0
    assert torch.allclose(torch.tensor(feed.preprocess.mean), pixels.mean((0, 1, 2)), atol=2e-3)
    assert torch.allclose(torch.tensor(feed.preprocess.deviation), pixels.std((0, 1, 2)), atol=2e-3)
    images, labels = zip(*feed.test, strict=True)
    assert torch.cat(images).shape == (3 * TEST, 3, SIDE, SIDE)
    assert torch.cat(labels).tolist() == [label for label in range(3) for _ in range(TEST)]
    assert (feed.classes, feed.class_names, feed.notes) == (3, CLASSES, ())


def test_images_of_several_sizes_are_read_one_by_one_as_those_of_imagenet(feed_of, root):
    Image.new("RGB", (SIDE + 3, SIDE)).save(root / "test" / "grey" / "wide.png")
    [(images, _), *_] = list(feed_of("data.size=16").train.epoch(0))
    assert images.shape == (6, 3, 16, 16)
    [(images, _), *_] = list(feed_of().test)
    assert images.shape == (6, 3, 224, 224)
    with pytest.raises(DataError, match=r"several sizes.*leave out data\.crop_padding$"):
        feed_of("data.crop_padding=1")


def test_files_that_are_no_images_are_skipped_with_a_note(feed_of, root):
    (root / "train" / "dark" / "notes.txt").write_text("x")
    (root / "test" / "index.csv").write_text("x")
    (root / "test" / ".DS_Store").write_text("x")
    feed = feed_of()
    assert len(list(feed.test)) == 2
    [note] = feed.notes
    assert note.startswith(f"{root / 'train' / 'dark' / 'notes.txt'} and 1 more skipped: not named as")


def test_damage_is_one_sentence_and_no_traceback(rbp, root):
    victim = root / "train" / "bright" / "1.jpg"
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    done = train(rbp, "--id", "torn")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert f"{victim} cannot be read as an image" in " ".join(done.stderr.split())
    [problem] = check_folder_set(root)
    assert "cannot be read as an image" in problem
    victim.write_bytes(whole)
    assert rbp("resume", "torn").returncode == 0
    (root / "train" / "dark" / "new.jpg").write_bytes(whole)
    changed = train(rbp, "--id", "torn", "--resume-or-start")
    assert changed.returncode == 2 and "torn" in changed.stderr
    for file in (root / "train" / "grey").iterdir():
        file.unlink()
    done = train(rbp)
    assert done.returncode == 3 and "has no images for grey" in " ".join(done.stderr.split())
    assert [run.name for run in (root.parent / "runs").iterdir()] == ["torn"]


def test_what_is_no_set_of_images_is_refused_where_it_is_added(rbp, root, tmp_path):
    wrong = rbp("data", "add", "folder:wrong", str(root / "train"))
    assert wrong.returncode == 3 and "train/CLASS/ and test/CLASS/" in wrong.stderr
    unknown = rbp("data", "add", "folder:../x", str(root))
    assert unknown.returncode == 2 and "folder:NAME" in unknown.stderr
    missing = rbp("train", "digits", "data=folder:nothing")
    assert missing.returncode == 3 and "rbp data add folder:nothing DIR" in missing.stderr
