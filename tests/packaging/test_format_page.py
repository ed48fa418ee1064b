"""docs/format.md names the files and fields that the code writes, and no others."""

import dataclasses
import re
from pathlib import Path

import pytest

from rbp_engine.os_process import Process
from rbp_engine.run.files.attempts import AttemptRecord, Ended
from rbp_engine.run.files.events import KINDS
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import RunJson
from rbp_engine.run.files.summary import SummaryJson

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
# Written for people and for other programs; nothing here reads them.
UNREAD = {"platform", "other_packages"}


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def named(text):
    return set(re.findall(r"`([a-z_]+)`", text))


def fields(*kinds):
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def first_column(text):
    return {name for line in text.splitlines() if line.startswith("| `") for name in named(line.split("|")[1])}


def test_the_fields_of_run_json_are_those_that_are_read_and_what_is_for_people():
    assert first_column(section("run.json")) == fields(RunJson) | UNREAD


def test_the_fields_of_an_attempt():
    text = section("attempts/N.json")
    assert first_column(text) == fields(AttemptRecord)
    assert named(text) >= fields(Ended, Process)


def test_the_fields_of_the_summary():
    listed = section("summary.json").split("Its fields are ")[1].split(".")[0]
    assert named(listed) == fields(SummaryJson)


def test_the_kinds_of_events():
    listed = section("events/rankK.jsonl").split("fields of the kind: ")[1].split(".")[0]
    assert named(listed) == KINDS.keys()


PATHS = [name for name, value in vars(RunDirectory).items() if isinstance(value, property)]


@pytest.mark.parametrize("name", PATHS)
def test_every_path_of_a_run_is_in_the_tree(name):
    run = RunDirectory(Path("run"))
    path = getattr(run, name)
    if isinstance(path, Path):
        assert re.search(rf"^      {path.relative_to(run.path).parts[0]}\b", PAGE, re.MULTILINE), path
