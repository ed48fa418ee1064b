import numpy as np
import pytest

from rbp_engine.data.readers.cifar10_dvs.orientation import describe, to_canonical


@pytest.mark.parametrize(
    ("layout", "row", "column"),
    [(1, "y", "x"), (3, "127-x", "127-y"), (4, "127-x", "y"), (5, "y", "127-x")],
)
def test_every_layout_is_turned_to_row_127_minus_x_and_column_127_minus_y(layout: int, row: str, column: str) -> None:
    x, y = (values.ravel() for values in np.mgrid[0:128, 0:128])
    places = {"x": x, "y": y, "127-x": 127 - x, "127-y": 127 - y}
    name = 1 + 128 * x + y
    stored, expected = np.zeros((2, 1, 128, 128), np.int64)
    stored[0, places[row], places[column]] = name
    expected[0, 127 - x, 127 - y] = name
    assert np.array_equal(to_canonical(stored, layout), expected)


def test_the_record_names_the_orientation_before_and_after() -> None:
    assert describe(3, "canonical") == "row 127-x, column 127-y, as stored"
    assert describe(4, "canonical") == "row 127-x, column 127-y, turned from row 127-x, column y"
    assert describe(4, "stored") == "row 127-x, column y, as stored"
