"""Runs that words select, and those in the archive, which queries leave out unless they ask."""

import shutil
from pathlib import Path

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.annotations import change_tags, read_annotations, set_archived, set_note
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.store.query import fitting_runs, select_runs
from rbp_engine.run.store.store import find_run, list_runs


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def runs(make_run, tmp_path):
    make_run("one", status="failed", timesteps=4, created=1.0)
    make_run("two", status="completed", timesteps=4, created=2.0, name="mine")
    make_run("three", status="completed", timesteps=6, created=3.0)
    return tmp_path / "runs"


def ids(runs: Path, query: str, *, archived: bool = False) -> list[str]:
    return [run.id for run in fitting_runs(runs, query, archived=archived)]


def test_references_and_queries_select_each_run_once_and_words_of_a_query_are_one(runs):
    assert [run.id for run in select_runs(runs, ["mine", "status:completed", "one"])] == ["two", "one", "three"]
    assert [run.id for run in select_runs(runs, ["status:completed", "name:mine"])] == ["two"]
    assert [run.id for run in select_runs(runs, ["T=6", "or", "name:mine", "one"])] == ["one", "two", "three"]
    for word in ("four", "status:running", "nothing=1"):
        with pytest.raises(RunError):
            select_runs(runs, ["one", word])


def test_the_archive_is_left_out_unless_a_query_asks_for_it(runs):
    two = RunDirectory(runs / "two")
    change_tags(two, add=["kept"])
    set_archived(two, archived=True)
    set_note(two, "later")
    assert read_annotations(two).archived and read_annotations(two).added == ("kept",)
    assert ids(runs, "") == ["one", "three"] and ids(runs, "status:completed") == ["three"]
    assert ids(runs, "archived") == ids(runs, "archived=true T=4") == ids(runs, "Archived") == ["two"]
    assert [run.id for run in select_runs(runs, ["archived"])] == ["two"]
    assert ids(runs, "not:archived") == ids(runs, "archived:false") == ["one", "three"]
    assert ids(runs, "archived or T=6") == ["two", "three"]
    assert ids(runs, "T=4", archived=True) == ["one", "two"]
    with pytest.raises(RunError, match="fits 'tag=kept'"):
        select_runs(runs, ["tag=kept"])
    assert [run.id for run in select_runs(runs, ["two"])] == ["two"]  # a run that is named is meant
    set_archived(two, archived=False)
    assert ids(runs, "status:completed") == ["two", "three"] and read_annotations(two).note == "later"


def test_a_run_copied_in_by_hand_is_found_and_so_is_every_change(runs):
    assert ids(runs, "note:slope or T=6") == ["three"]
    shutil.copytree(runs / "three", runs / "copy")
    assert ids(runs, "T=6") == ["copy", "three"]
    set_note(RunDirectory(runs / "one"), "another slope")
    assert ids(runs, "slope") == ["one"]
    (runs / "one" / "annotations.json").write_text('{"note": "other"}')
    assert ids(runs, "slope") == [] and ids(runs, "note:other") == ["one"]
    write_status(RunDirectory(runs / "two"), "failed", "out of room")
    assert ids(runs, "reason:room") == ["two"]
    shutil.rmtree(runs / "three")
    assert ids(runs, "T=6") == ["copy"]


def test_last_is_no_run_in_the_archive_and_a_live_run_is_never_out_of_the_way(runs, make_run):
    set_archived(RunDirectory(runs / "three"), archived=True)
    assert find_run(runs, "last").id == "two"
    set_archived(make_run("live", created=4.0), archived=True)
    assert find_run(runs, "last").id == "live"
    assert [record.run.id for record in list_runs(runs) if record.hidden] == ["three"]
