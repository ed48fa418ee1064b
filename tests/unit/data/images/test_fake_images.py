import torch

from rbp_engine.data.sets.fake import fake

FRAMES = {"shape": [2, 6, 5], "frames": True}


def test_images_have_the_given_shape_and_depend_only_on_the_seed():
    splits = fake(shape=(5, 7, 9), classes=3, train_size=40, test_size=6, seed=4)
    assert splits.train.pixels.shape == (40, 5, 7, 9) and splits.test.pixels.shape == (6, 5, 7, 9)
    assert splits.train.pixels.dtype == torch.uint8
    assert set(splits.train.labels.tolist()) == {0, 1, 2} and splits.classes == 3
    assert len(splits.mean) == len(splits.deviation) == splits.channels == 5
    again, other = (fake(shape=(5, 7, 9), classes=3, train_size=40, test_size=6, seed=seed) for seed in (4, 5))
    assert torch.equal(splits.train.pixels, again.train.pixels)
    assert not torch.equal(splits.train.pixels, other.train.pixels)


def test_frames_have_time_first_and_an_epoch_has_each_once(open_data):
    feed = open_data(name="fake", batch_size=4, args=FRAMES | {"classes": 3, "train_size": 10, "test_size": 7})
    sizes = [tuple(frames.shape) for frames, _ in feed.train.epoch(0)]
    assert sizes == [(4, 4, 2, 6, 5), (4, 4, 2, 6, 5), (4, 2, 2, 6, 5)] and len(feed.train) == 3
    assert (feed.classes, feed.preprocess.channels) == (3, 2)
    epochs = [torch.cat([frames for frames, _ in feed.train.epoch(epoch)], 1) for epoch in (0, 1)]
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0].flatten().sort().values, epochs[1].flatten().sort().values)
    assert torch.equal(torch.cat([frames for frames, _ in feed.train.epoch(0, 1)], 1), epochs[0][:, 4:])
    assert [len(labels) for _, labels in feed.test] == [4, 3]


def test_every_run_is_tested_on_the_same_frames(open_data):
    args = FRAMES | {"classes": 3, "train_size": 10, "test_size": 4}
    tested = [open_data(2, name="fake", batch_size=4, seed=seed, args=args).test for seed in (1, 2)]
    [(one, labels)], [(other, same)] = tested
    assert torch.equal(one, other) and torch.equal(labels, same)


def test_frames_are_held_out_and_mirrored_like_event_data(open_data):
    settings = {"name": "fake", "batch_size": 20, "args": FRAMES | {"classes": 2, "train_size": 20, "test_size": 4}}
    plain, held = open_data(2, **settings), open_data(2, **settings, held_out=0.25, flip=True)
    assert [len(labels) for _, labels in held.validation] == [5] and held.validation is not held.test
    assert [len(labels) for _, labels in held.train.epoch(0)] == [15]
    mirrored = open_data(2, **settings, flip=True)
    [(one, _)], [(other, _)] = plain.train.epoch(0), mirrored.train.epoch(0)
    same = (one == other).flatten(2).all(-1).all(0)
    assert 0 < int(same.sum()) < 20
    assert torch.equal(other[:, ~same], one[:, ~same].flip(-1))
