from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.query import select_runs


@pytest.fixture
def runs(make_run: Callable[..., RunDirectory], tmp_path: Path) -> Path:
    make_run("one", status="failed")
    make_run("two", status="failed", name="mine")
    make_run("three", status="completed")
    return tmp_path / "runs"


def test_references_and_queries_select_each_run_once(runs: Path) -> None:
    assert [run.id for run in select_runs(runs, ["mine", "status:failed", "three"])] == ["two", "three", "one"]


def test_words_of_a_query_are_one_as_in_a_list(runs: Path) -> None:
    assert [run.id for run in select_runs(runs, ["status:failed", "name:mine"])] == ["two"]


@pytest.mark.parametrize("word", ["four", "status:running", "nothing=1"])
def test_a_word_that_matches_no_run_is_refused(runs: Path, word: str) -> None:
    with pytest.raises(RunError):
        select_runs(runs, ["one", word])
