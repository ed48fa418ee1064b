"""What the options of a command say about its runs: read from its words, and written as words."""

from pathlib import Path

import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.plan.request import SweepRequest
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_tui.cli import app
from rbp_tui.cli.command_group import USAGE_ERROR
from rbp_tui.cli.options import given_options

COUNTS = st.integers(1, 1024)
RESOURCES = st.builds(Resources, COUNTS) | st.builds(Resources, COUNTS, st.integers(2, 1024), st.just("node-1:29400"))
PLACES = st.sampled_from([Path("/my runs"), Path("runs"), Path("$HOME; rm")])
OPTIONS = st.builds(
    LaunchOptions,
    runs_dir=st.none() | PLACES, resources=st.none() | RESOURCES, retries=st.none() | st.integers(0, 1000),
    gpus=st.none() | st.sampled_from(["auto", "none", "0,1"]), inexact=st.booleans(), from_scratch=st.booleans(),
)  # fmt: skip
NAMES = ("runs_dir", "gpus", "retries", "nproc", "nnodes", "rdzv", "inexact", "from_scratch")


def read(command):
    """The parameters that a command gets from its words."""
    _, name, *words = command
    found = typer.main.get_command(app).get_command(None, name)
    return dict(found.make_context(name, words).params)


def options_in(given):
    return given_options(**{name: given[name] for name in NAMES if name in given})


@settings(max_examples=30)
@given(OPTIONS)
def test_the_command_that_repeats_a_run_has_all_of_its_options(options):
    request = LaunchRequest("digits", ("T=2",), options, (1, 2), run_id="mine", resume_or_start=True)
    given = read(request.command)
    assert options_in(given) == options
    assert (given["preset"], *given["overrides"], given["seeds"]) == ("digits", "T=2", "1,2")
    assert (given["run_id"], given["resume_or_start"]) == ("mine", True)


OF_A_SWEEP = OPTIONS.map(
    lambda one: LaunchOptions(one.runs_dir, one.resources and Resources(one.resources.processes), one.gpus, one.retries)
)
SWEEPS = st.builds(
    SweepRequest,
    st.builds(LaunchRequest, st.just("digits"), st.just(("T=2,4", "lr=0.1..0.5")), OF_A_SWEEP, st.just((1, 2))),
    draws=st.none() | COUNTS, search=st.sampled_from(["", "tpe"]), trials=st.none() | COUNTS,
    pruner=st.sampled_from(["", "median"]), name=st.sampled_from(["", "my sweep"]), retry_failed=st.booleans(),
)  # fmt: skip


@settings(max_examples=30)
@given(SWEEPS)
def test_the_command_that_goes_on_with_a_sweep_has_all_that_was_said(asked):
    given = read(asked.command)
    assert options_in(given) == asked.request.options
    assert (given["preset"], *given["settings"], given["seeds"]) == ("digits", "T=2,4", "lr=0.1..0.5", "1,2")
    assert (given["random"], given["trials"], given["retry_failed"]) == (asked.draws, asked.trials, asked.retry_failed)
    assert (given["search"] or "", given["prune"] or "") == (asked.search, asked.pruner)
    assert given["name"] == asked.name


@given(OPTIONS, OPTIONS)
def test_options_that_say_nothing_are_those_of_the_run_that_is_repeated(ours, theirs):
    for name, value in vars(ours.over(theirs)).items():
        said, usual = getattr(ours, name), getattr(theirs, name)
        assert value == (usual if said is None or said is False else said)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--tag x", "--tag: settings are words, without dashes: run.tags=x"),
        ("--epochs=3", "--epochs: settings are words, without dashes: epochs=3"),
        ("--name first", "--name: settings are words, without dashes: run.name=first"),
        ("--note good", "--note: write it once the run is there: rbp runs note last TEXT"),
        ("--source x", "No such option"),  # that of a paper is no setting of a run
    ],
)
def test_a_setting_given_as_an_option_is_named_as_a_word_and_a_note_where_it_belongs(words, hint):
    with pytest.raises(USAGE_ERROR) as refused:
        read(["rbp", "train", "digits", *words.split()])
    assert refused.value.message.startswith(hint)
