"""The figure of the worst mistakes."""

from dataclasses import replace

import numpy as np
import pytest

from rbp_engine.printable import one_line
from rbp_engine.report.mistakes_figure import draw_mistakes
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.evaluation_json import ByClass, ClassCounts
from tests.damaged_files import evaluation


def by_class(count: int) -> ByClass:
    found = evaluation().by_class
    return replace(found, classes=tuple(ClassCounts(one_line(f"$x_{{{n}}}$ [b]"), 10, 9, 10) for n in range(count)))


@pytest.mark.parametrize("count", [2, 100])
def test_names_that_look_like_formulas_are_drawn_as_they_stand(tmp_path, count):
    for suffix in ("svg", "png"):
        draw_mistakes(by_class(count), [np.zeros((8, 8)), np.ones((8, 8, 3))], tmp_path / f"m.{suffix}")
    drawn = (tmp_path / "m.svg").read_text()
    assert "<!-- $x_{0}$ [b]" in drawn and "90 %, #3" in drawn
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        draw_mistakes(by_class(2), [], tmp_path / "gone" / "m.svg")
