"""What is taken for what, counted from predictions, and samples as images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.preprocess import Frames, Pixels
from rbp_engine.evaluation import classes
from rbp_engine.evaluation.classes import by_class, picture, samples_at
from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import EvaluatedWeights

OF = EvaluatedWeights(one_line("last"), one_line("best"), one_line("test"), 1, 1, 0.5, 0.0)


@given(st.integers(2, 7), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_counts_are_those_of_a_plain_loop(count, samples, seed):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, count, samples)
    logits = draw.normal(size=(samples, count)).astype(np.float32)
    found = by_class(OF, labels, logits.argmax(1), logits)
    matrix = [[0] * count for _ in range(count)]
    mistakes = {}
    for index, (label, row) in enumerate(zip(labels, logits, strict=True)):
        predicted = int(np.argmax(row))
        matrix[label][predicted] += 1
        if predicted != label:
            odds = np.exp(row.astype(float))
            mistakes[index] = (int(label), predicted, float(odds[predicted] / odds.sum()))
    assert found.matrix() == matrix
    assert [one.samples for one in found.classes] == [sum(row) for row in matrix]
    assert [one.predicted for one in found.classes] == [sum(column) for column in zip(*matrix, strict=True)]
    assert [one.right for one in found.classes] == [matrix[label][label] for label in range(count)]
    counts = [one.count for one in found.confusions]
    assert counts == sorted(counts, reverse=True)
    assert len(found.worst) == min(len(mistakes), classes.WORST_KEPT)
    for one in found.worst:
        assert (one.label, one.predicted) == mistakes[one.index][:2]
        assert one.confidence == pytest.approx(mistakes.pop(one.index)[2], abs=1e-6)
    confidences = [one.confidence for one in found.worst]
    assert confidences == sorted(confidences, reverse=True)
    assert all(left <= confidences[-1] + 1e-6 for *_, left in mistakes.values())


def test_a_network_that_is_always_right_has_no_mistakes():
    logits = np.eye(3, dtype=np.float32)
    found = by_class(OF, np.arange(3), logits.argmax(1), logits, ("a", "b", "c"))
    assert found.worst == found.confusions == ()
    assert [(one.name, one.accuracy) for one in found.classes] == [("a", 1.0), ("b", 1.0), ("c", 1.0)]


def test_a_class_without_a_sample_has_no_accuracy_and_odd_logits_no_confidence():
    logits = np.array([[np.nan, 1.0]], dtype=np.float32)
    found = by_class(OF, np.array([1]), np.array([0]), logits)
    assert found.classes[0].accuracy is None
    assert [one.confidence for one in found.worst] == [0.0]


def test_every_catalogued_set_that_has_names_has_one_for_each_class():
    named = [one for one in CATALOG.values() if one.class_names]
    assert [len(one.class_names) for one in named] == [one.classes for one in named] and len(named) > 8
    # The labels of CIFAR-100 are in the order of the alphabet.
    names = CATALOG["cifar100"].class_names
    assert list(names) == sorted(set(names))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_a_normalised_image_is_the_raw_one(channels):
    raw = torch.randint(0, 256, (2, channels, 5, 6), dtype=torch.uint8)
    preprocess = Pixels((0.3,) * channels, (0.2,) * channels)
    seen = picture(preprocess(raw)[1], preprocess)
    assert seen.shape == ((5, 6) if channels == 1 else (5, 6, 3))
    expected = (raw[1].float() / 255).permute(1, 2, 0).numpy()
    assert np.allclose(seen, expected[..., 0] if channels == 1 else expected, atol=1e-6)


def test_a_picture_of_events_is_their_sum_over_time_and_polarity():
    frames = torch.randint(0, 4, (3, 2, 5, 6)).float()
    seen = picture(frames, Frames(2))
    assert np.allclose(seen, (frames.sum((0, 1)) / frames.sum((0, 1)).max()).numpy())
    assert picture(torch.zeros(3, 2, 5, 6), Frames(2)).max() == 0.0


def test_samples_are_found_by_their_number_in_the_order_that_was_asked_for():
    images, frames = torch.arange(10.0).view(10, 1, 1, 1), torch.arange(20.0).view(2, 10, 1, 1, 1)
    batches = [(images[:4], torch.zeros(4)), (images[4:], torch.zeros(6))]
    assert [sample.item() for sample in samples_at(batches, [7, 0, 4])] == [7.0, 0.0, 4.0]
    sequence = [(frames[:, :4], torch.zeros(4)), (frames[:, 4:], torch.zeros(6))]
    assert [sample.flatten().tolist() for sample in samples_at(sequence, [5])] == [[5.0, 15.0]]
