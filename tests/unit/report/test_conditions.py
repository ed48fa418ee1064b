"""What is known of the conditions of a run, from files that may be anything."""

import os
from pathlib import Path

import pytest

from rbp_engine.report.conditions import run_start
from rbp_engine.run.files.layout import RunDirectory


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_something_else_in_the_place_of_the_events_is_not_waited_for(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = RunDirectory(tmp_path)
    run.events().parent.mkdir()
    make(run.events())
    assert run_start(run) is None
