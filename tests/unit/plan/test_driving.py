"""The request of a search reaches the process that drives it, and only one process drives a search."""

from pathlib import Path

import pytest

from rbp_engine.plan.driving import as_text, requested_in
from rbp_engine.plan.request import SweepRequest
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.options import LaunchOptions
from rbp_engine.run.request import LaunchRequest

OPTIONS = LaunchOptions(Path("/my runs"), Resources(2), "none", 3)
AGAIN = LaunchRequest("runs/one/preset.toml", original=RunDirectory(Path("runs/one")))


@pytest.mark.parametrize(
    "asked",
    [
        SweepRequest(LaunchRequest("digits", ("lr=0.1..0.5", "run.name='ü\n'"), OPTIONS, (1, 2), typed=("rbp",))),
        SweepRequest(AGAIN, 3, "tpe", 7, "median", "mine", True),
    ],
)
def test_the_request_of_a_search_arrives_as_it_was_made(asked):
    assert requested_in(as_text(asked)) == asked
