"""The conditions of a run, read from files that may contain anything."""

import os
from pathlib import Path

import pytest

from rbp_engine.report.conditions import run_start
from rbp_engine.run.files.layout import RunDirectory


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_place_of_the_events_does_not_block(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = RunDirectory(tmp_path)
    run.events().parent.mkdir()
    make(run.events())
    assert run_start(run) is None
