"""ImageNet's layout with three tiny classes: real files, real worker processes."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from rbp_engine.data.feed import Opening
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.one_by_one import DEVIATION, MEAN, OneByOne, images_in_files
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.readers import image_files, image_folders
from rbp_engine.data.readers.image_files import random_box, read_image
from rbp_engine.data.readers.image_folders import check_image_folders, list_image_folders
from rbp_engine.preset.sections.data import DataSection

CPU = torch.device("cpu")
CLASSES = ("n01440764", "n01443537", "n02056570")
TRAIN, VAL = 9, 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    draw = np.random.default_rng(0)
    for side, count in (("train", TRAIN), ("val", VAL)):
        for name in reversed(CLASSES):
            (root / side / name).mkdir(parents=True)
            for number in range(count):
                height, width = draw.integers(30, 90, 2)
                small = Image.fromarray(draw.integers(0, 256, (5, 5, 3), dtype=np.uint8))
                suffix = (".JPEG", ".jpg", ".png", ".jpeg")[number % 4]
                small.resize((int(width), int(height))).save(root / side / name / f"{name}_{number}{suffix}")
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "imagenet")


def feed(root, held_out=0.0, rank=0, world_size=1, seed=3, **settings):
    data = DataSection(**({"name": "imagenet", "batch_size": 6, "flip": True, "workers": 0} | settings))
    cut = Cut(batch_size=data.batch_size, seed=seed, drop_last=data.drop_last, rank=rank, world_size=world_size)
    return images_in_files(list_image_folders(root), 32, Opening(data, 1, held_out, CPU, cut))


def epoch(source, number=0, start=0):
    return list(source.train.epoch(number, start))


def same(ours, theirs):
    pairs = list(zip(ours, theirs, strict=True))
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


# The folders


def test_classes_are_the_folders_in_the_order_of_their_names(made):
    folders = list_image_folders(made)
    assert folders.classes == CLASSES
    assert folders.train.labels.tolist() == [label for label in range(3) for _ in range(TRAIN)]
    assert len(folders.val) == 3 * VAL
    for index in range(len(folders.train)):
        path = Path(folders.train.path(index))
        assert path.is_file() and path.parent == made / "train" / CLASSES[folders.train.labels[index]]


def test_other_files_and_hidden_folders_are_not_images(root):
    before = list_image_folders(root)
    (root / "train" / ".cache").mkdir()
    (root / "val" / CLASSES[0] / "Thumbs.db").write_bytes(b"x")
    (root / "val" / CLASSES[0] / "._n01440764_0.JPEG").write_bytes(b"x")
    (root / "train" / f"{CLASSES[0]}.tar").write_bytes(b"x")
    (root / "val" / "loop").symlink_to("loop")
    os.mkfifo(root / "val" / "pipe")
    after = list_image_folders(root)
    assert after.val.names.tolist() == before.val.names.tolist() and after.classes == before.classes


def test_the_second_start_reads_no_names_until_a_folder_has_changed(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = list_image_folders(root, cache)
    read = []
    names = image_folders._image_names
    monkeypatch.setattr(image_folders, "_image_names", lambda folder: (read.append(folder), names(folder))[1])
    again = list_image_folders(root, cache)
    assert read == []
    assert again.train.names.tolist() == first.train.names.tolist()
    assert [again.val.path(index) for index in range(15)] == [first.val.path(index) for index in range(15)]
    (root / "val" / CLASSES[1] / f"{CLASSES[1]}_0.JPEG").unlink()
    assert len(list_image_folders(root, cache).val) == 3 * VAL - 1 and read
    for kept in (cache / "listings").iterdir():
        kept.write_bytes(b"PK\x03\x04 torn")
    assert len(list_image_folders(root, cache).val) == 3 * VAL - 1


def test_a_list_whose_test_side_has_another_name_is_kept_as_well(root, tmp_path, monkeypatch):
    expected = list_image_folders(root, tmp_path / "cache").val
    (root / "val").rename(root / "test")
    listed = list_image_folders(root, tmp_path / "cache", test="test").val
    monkeypatch.setattr(image_folders, "_image_names", None)
    again = list_image_folders(root, tmp_path / "cache", test="test").val
    assert listed.names.tolist() == again.names.tolist() == expected.names.tolist()
    assert Path(again.path(0)).parents[1] == root / "test"


def test_a_cache_that_cannot_be_written_is_no_failure(made, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert len(list_image_folders(made, tmp_path / "cache").train) == 3 * TRAIN


def flat_val(root):
    for image in (root / "val").glob("*/*"):
        image.rename(root / "val" / image.name)
    for name in CLASSES:
        (root / "val" / name).rmdir()


def no_images(root):
    for image in (root / "train" / CLASSES[2]).iterdir():
        image.unlink()


MISSING = f"has no folder for {CLASSES[1]}, which the other side has"
DISORDER = {
    "a flat val": (flat_val, "val holds 15 images and no class folders: move each image into the folder of its class"),
    "no val": (lambda root: shutil.rmtree(root / "val"), r"val cannot be read \(No such file or directory\)"),
    "a class missing in val": (lambda root: shutil.rmtree(root / "val" / CLASSES[1]), f"val {MISSING}"),
    "a class missing in train": (lambda root: shutil.rmtree(root / "train" / CLASSES[1]), f"train {MISSING}"),
    "an empty class": (no_images, rf"train has no images for {CLASSES[2]} .*unpack the archive of the class again"),
}


@pytest.mark.parametrize("disorder", DISORDER)
def test_wrong_folders_give_one_message_with_the_folder_and_the_remedy(root, disorder):
    disturb, message = DISORDER[disorder]
    disturb(root)
    with pytest.raises(ValueError, match=message) as caught:
        feed(root)
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)
    assert check_image_folders(root, expected_classes=3) == [str(caught.value)]


def test_a_check_counts_the_classes_and_opens_every_file(root):
    assert check_image_folders(root, expected_classes=3) == []
    [problem] = check_image_folders(root)
    assert "has 3 classes, expected 1000" in problem
    damaged = root / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    damaged.write_bytes(b"<html>404</html>")
    [problem] = check_image_folders(root, expected_classes=3)
    assert problem.startswith(f"{damaged}: is no image that can be used (it is neither a JPEG nor a PNG image")


# One image


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "LA"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    image = Image.fromarray(np.full((20, 30, 3), (200, 40, 90), np.uint8)).convert(mode)
    file = tmp_path / ("image.JPEG" if mode in ("RGB", "L", "CMYK") else "image.png")
    image.save(file)
    pixels = read_image(str(file))
    assert pixels.shape == (3, 20, 30) and pixels.dtype == torch.uint8
    expected = torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy()).permute(2, 0, 1)
    assert int((pixels.int() - expected.int()).abs().max()) <= 2


def test_an_image_of_16_bits_is_the_same_picture_in_8(tmp_path):
    deep = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "image.png")
    pixels = read_image(str(tmp_path / "image.png"))
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.numpy(), np.stack([deep >> 8] * 3))


def test_a_png_named_jpeg_is_read(tmp_path):
    Image.new("RGB", (8, 9), (1, 2, 3)).save(tmp_path / "n02105855_2933.JPEG", format="PNG")
    assert read_image(str(tmp_path / "n02105855_2933.JPEG"))[:, 0, 0].tolist() == [1, 2, 3]


def test_evaluation_is_the_centre_of_the_resized_image(made):
    images = list_image_folders(made).val
    theirs = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(56)])
    for index in range(len(images.labels)):
        ours = image_files.square(images, 56, index, None)
        expected = np.asarray(theirs(Image.open(images.path(index)))).transpose(2, 0, 1)
        assert ours.shape == (3, 56, 56)
        # Pillow's decoder and resize round differently in places.
        assert float((ours.float() - torch.from_numpy(expected.astype(np.float32))).abs().mean()) < 1.0


def test_random_crops_are_inside_the_image_with_inceptions_areas_and_ratios():
    draw = np.random.default_rng(0)
    boxes = np.array([random_box(375, 500, draw) for _ in range(4000)])
    top, left, height, width = boxes.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 375).all() and (left + width <= 500).all()
    area, ratio = height * width / (375 * 500), width / height
    assert area.min() > 0.078 and area.max() <= 1.0
    assert ratio.min() > 0.74 and ratio.max() < 1.35
    image = torch.empty(3, 375, 500)
    theirs = np.array(
        [transforms.RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3])[2:] for _ in range(4000)]
    )
    assert abs(area.mean() - (theirs[:, 0] * theirs[:, 1] / (375 * 500)).mean()) < 0.03
    assert random_box(10, 1000, np.random.default_rng(0))[2] <= 10


# Training


def test_an_epoch_has_every_image_once_normalised_and_square(made):
    batches = epoch(feed(made))
    assert [tuple(images.shape) for images, _ in batches] == [(6, 3, 32, 32)] * 4 + [(3, 3, 32, 32)]
    assert torch.cat([labels for _, labels in batches]).bincount().tolist() == [TRAIN] * 3
    images = torch.cat([images for images, _ in batches])
    deviation, mean = (torch.tensor(values).view(1, 3, 1, 1) for values in (DEVIATION, MEAN))
    pixels = (images * deviation + mean) * 255
    torch.testing.assert_close(pixels, pixels.round(), atol=1e-3, rtol=0)
    assert images.dtype == torch.float32 and float(pixels.min()) >= -1e-3 and float(pixels.max()) <= 255.001


def test_the_same_image_is_augmented_differently_at_each_position():
    def read(index, draw):
        return torch.tensor([[[draw.random(), 0.0]]])

    source = OneByOne(read, np.zeros(64, dtype=np.int64), lambda x: x, BatchLoader(0, CPU), flip=True)
    [(images, _)] = source.training(Cut(batch_size=64)).epoch(0)
    mirrored = images[:, 0, 0, 0] == 0
    assert len(images.sum((1, 2, 3)).unique()) == 64
    assert 15 < int(mirrored.sum()) < 49, "about half of them are mirrored"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_from_a_position_is_the_tail_and_reads_nothing_before_it(made, monkeypatch, workers):
    whole = epoch(feed(made), 2)
    for start in (1, 4, 5):
        assert same(whole[start:], epoch(feed(made, workers=workers), 2, start))
    read = []
    monkeypatch.setattr(image_files, "read_image", lambda path: (read.append(path), read_image(path))[1])
    epoch(feed(made), 2, 4)
    assert len(read) == 3


def test_each_rank_has_its_contiguous_share_of_each_batch(made):
    whole = epoch(feed(made))
    shares = [epoch(feed(made, rank=rank, world_size=3)) for rank in range(3)]
    joined = [
        (torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts]))
        for parts in zip(*shares, strict=True)
    ]
    assert same(whole, joined)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"", None])
def test_a_damaged_or_missing_image_gives_one_message_that_names_it(root, workers, damage):
    source = feed(root, workers=workers)
    file = root / "train" / CLASSES[1] / f"{CLASSES[1]}_0.JPEG"
    file.unlink() if damage is None else file.write_bytes(damage(file.read_bytes()))
    before = children()
    with pytest.raises(ValueError) as caught:
        epoch(source)
    assert children() == before, "no process that reads images outlives the error"
    message = str(caught.value)
    assert message.startswith(f"{file} cannot be read as an image") and "copy or unpack it again" in message
    assert "\n" not in message and "worker process" not in message


# Worker processes


@pytest.fixture
def source(made):
    batches = feed(made, workers=2, batch_size=2).train.epoch(0)
    yield batches
    batches.close()


def start_both(source):
    # Workers take turns: after two batches, both are running.
    next(source), next(source)


def children():
    return {int(number) for number in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


def test_workers_have_their_own_process_groups_and_end_when_the_epoch_is_left(source):
    before = children()
    start_both(source)
    workers = children() - before
    assert len(workers) == 2
    assert all(os.getpgid(worker) == worker for worker in workers)
    source.close()
    assert not children() & workers


def test_started_workers_serve_all_epochs_and_evaluations_without_forking_others(made):
    """Also after an epoch that was left early."""
    before = children()
    started = feed(made, workers=2, held_out=1 / 3)
    started.loader.start()
    workers = children() - before
    assert len(workers) == 2  # which take turns with training, held-out images and the test set
    plain = feed(made, held_out=1 / 3)
    state = torch.get_rng_state()
    left = started.train.epoch(0)
    assert same([next(left)], epoch(plain)[:1])
    left.close()
    for number in (1, 0, 2):
        assert same(epoch(started, number), epoch(plain, number))
        assert same(list(started.validation), list(plain.validation))
        assert children() - before == workers
    assert same(epoch(started, 2, 1), epoch(plain, 2)[1:])
    assert same(list(started.test), list(plain.test))
    assert torch.equal(torch.get_rng_state(), state)
    started.loader.stop()
    assert not children() & workers


def test_an_epoch_cannot_go_on_after_an_evaluation_has_taken_its_workers(made):
    started = feed(made, workers=2)
    started.loader.start()
    left = started.train.epoch(0)
    next(left)
    list(started.validation)
    with pytest.raises(RuntimeError, match="another plan has begun"):
        next(left)


def test_workers_survive_a_signal_to_all_processes_of_the_job(source):
    before = children()
    start_both(source)
    for worker in children() - before:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(worker, number)
    assert len(list(source)) == 12


def test_workers_end_when_their_rank_is_killed(source):
    told, tell = os.pipe()
    if (rank := os.fork()) == 0:
        try:
            start_both(source)
            os.write(tell, " ".join(map(str, children())).encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(tell)
    os.waitpid(rank, 0)
    workers = os.read(told, 100).split()
    os.close(told)
    assert len(workers) == 2
    for _ in range(200):
        if not any(Path(f"/proc/{worker.decode()}").exists() for worker in workers):
            return
        time.sleep(0.1)
    pytest.fail("a worker process is left")
