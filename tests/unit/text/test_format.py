"""Numbers as text."""

import pytest

from rbp_tui.text import format as fmt


@pytest.mark.parametrize(("difference", "text"), [(-1e-17, "+0.00"), (0.0, "+0.00"), (-0.0005, "−0.05")])
def test_no_difference_has_one_sign(difference, text):
    assert fmt.points(difference) == text
