"""Samples as images, and the figure of the worst mistakes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rbp_engine.data.preprocess import Frames, Pixels
from rbp_engine.evaluation.classes import picture, samples_at
from rbp_engine.printable import one_line
from rbp_engine.report.mistakes_figure import draw_mistakes
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.evaluation_json import ByClass, ClassCounts
from tests.damaged_files import evaluation


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_a_normalised_image_is_the_raw_one(channels: int) -> None:
    raw = torch.randint(0, 256, (2, channels, 5, 6), dtype=torch.uint8)
    preprocess = Pixels((0.3,) * channels, (0.2,) * channels)
    seen = picture(preprocess(raw)[1], preprocess)
    assert seen.shape == ((5, 6) if channels == 1 else (5, 6, 3))
    expected = (raw[1].float() / 255).permute(1, 2, 0).numpy()
    assert np.allclose(seen, expected[..., 0] if channels == 1 else expected, atol=1e-6)


def test_a_picture_of_events_is_their_sum_over_time_and_polarity() -> None:
    frames = torch.randint(0, 4, (3, 2, 5, 6)).float()
    seen = picture(frames, Frames(2))
    assert np.allclose(seen, (frames.sum((0, 1)) / frames.sum((0, 1)).max()).numpy())
    assert picture(torch.zeros(3, 2, 5, 6), Frames(2)).max() == 0.0


def test_samples_are_found_by_their_number_in_the_order_that_was_asked_for() -> None:
    images, frames = torch.arange(10.0).view(10, 1, 1, 1), torch.arange(20.0).view(2, 10, 1, 1, 1)
    batches = [(images[:4], torch.zeros(4)), (images[4:], torch.zeros(6))]
    assert [sample.item() for sample in samples_at(batches, [7, 0, 4])] == [7.0, 0.0, 4.0]  # type: ignore[arg-type]
    sequence = [(frames[:, :4], torch.zeros(4)), (frames[:, 4:], torch.zeros(6))]
    assert [sample.flatten().tolist() for sample in samples_at(sequence, [5])] == [[5.0, 15.0]]  # type: ignore[arg-type]


def by_class(count: int) -> ByClass:
    found = evaluation().by_class
    assert found is not None
    return replace(found, classes=tuple(ClassCounts(one_line(f"$x_{{{n}}}$ [b]"), 10, 9, 10) for n in range(count)))


@pytest.mark.parametrize("count", [2, 100])
def test_names_that_look_like_formulas_are_drawn_as_they_stand(tmp_path: Path, count: int) -> None:
    for suffix in ("svg", "png"):
        draw_mistakes(by_class(count), [np.zeros((8, 8)), np.ones((8, 8, 3))], tmp_path / f"m.{suffix}")
    drawn = (tmp_path / "m.svg").read_text()
    assert "<!-- $x_{0}$ [b]" in drawn and "90 %, #3" in drawn
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"):
        draw_mistakes(by_class(2), [], tmp_path / "gone" / "m.svg")
