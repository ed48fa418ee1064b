"""Requests to a process that measures."""

import pytest

from rbp_engine.bench.cost import MEASURE
from rbp_engine.bench.measure.measurement import ask, temporary_run
from rbp_engine.child import ChildError
from rbp_engine.preset import load_preset


def test_an_end_without_an_answer_is_reported_with_the_error_and_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with (
        temporary_run(load_preset("digits")) as run,
        pytest.raises(ChildError, match="exit code 1: ValueError: could not convert string to float: 'soon'"),
    ):
        ask(MEASURE, run, "soon", quiet=True)
    assert capfd.readouterr() == ("", "")
