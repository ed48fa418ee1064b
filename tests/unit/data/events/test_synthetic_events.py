import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from rbp_engine.data.events.synthetic import moving_digits, sequential_digits
from rbp_engine.data.sets.digits import DIGITS


def test_moving_digits_are_the_same_in_every_process_and_follow_the_split_of_digits():
    train, test = moving_digits(4)
    torch.manual_seed(5)
    np.random.seed(5)
    for one, again in zip((train, test), moving_digits(4), strict=True):
        assert np.array_equal(one.counts, again.counts) and np.array_equal(one.labels, again.labels)
    splits = DIGITS.load()
    assert np.array_equal(train.labels, splits.train.labels) and np.array_equal(test.labels, splits.test.labels)
    assert train.counts.shape == (1437, 4, 2, 16, 16) and train.counts.dtype == np.uint8


def test_moving_digits_have_events_of_both_signs_at_every_step_and_change_over_time():
    train, _ = moving_digits(10)
    assert (train.counts.sum((3, 4)) > 0).all()
    assert (train.counts[:, 0] != train.counts[:, 5]).any((1, 2, 3)).all()
    # After a full circle every pixel that got brighter got darker again, except for changes below the threshold.
    falls, rises = train.counts.sum((0, 1, 3, 4), dtype=np.int64)
    assert falls == pytest.approx(rises, rel=0.1)


def test_sequential_digits_show_one_row_a_step_and_need_a_step_for_each(open_data):
    train, _ = sequential_digits(8)
    images = DIGITS.load().train.pixels.numpy()
    assert train.counts.shape == (1437, 8, 1, 8, 8)
    for step in range(8):
        assert (train.counts[:, step, 0] == images[:, 0, step, None, :]).all()
    with pytest.raises(ValueError, match="set T to 8, not 4"):
        open_data(name="sequential_digits")


def test_of_sequential_digits_the_sums_over_time_tell_much_and_all_rows_nearly_everything():
    """As docs/data.md says; C is what cross-validation on the training images finds of 0.1, 1, 10 and 100."""
    train, test = sequential_digits(8)

    def accuracy(features, c):
        seen, asked = (features(part.counts[:, :, 0, 0]) for part in (train, test))
        return SVC(C=c).fit(seen, train.labels).score(asked, test.labels)

    assert accuracy(lambda rows: rows.mean(1), 100) == pytest.approx(0.703, abs=0.01)
    assert accuracy(lambda rows: rows.reshape(-1, 64), 10) == pytest.approx(0.994, abs=0.005)


def test_the_feed_validates_on_held_out_samples(open_data):
    feed = open_data(3, held_out=0.1, name="moving_digits", roll=1)
    assert (feed.preprocess.channels, feed.classes) == (2, 10)
    assert (feed.validation.split, feed.test.split) == ("held-out", "test")
    frames, labels = next(feed.train.epoch(0))
    assert frames.shape == (3, 64, 2, 16, 16) and labels.shape == (64,)
    assert sum(len(part) for _, part in feed.validation) == 144
    assert sum(len(part) for _, part in feed.test) == 360
