from collections.abc import Callable

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.annotations import (
    Annotations,
    change_tags,
    note_as_written,
    read_annotations,
    set_archived,
    set_note,
    tag_words,
)
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.store.store import record


def tags(run: RunDirectory) -> tuple[str, ...]:
    found = record(run)
    return found.tags


def test_tags_are_added_to_and_removed_from_those_of_the_preset(make_run):
    run = make_run(tags=["paper", "draft"])
    assert tags(run) == ("paper", "draft") and not run.annotations_json.exists()
    change_tags(run, add=["kept", "paper", "kept"], remove=["draft"])
    assert tags(run) == ("paper", "kept")
    change_tags(run, add=["draft"], remove=["kept", "never-there"])
    assert tags(run) == ("paper", "draft")


def test_a_note_and_tags_are_independent(make_run):
    run = make_run()
    set_note(run, "  two\nlines \n")
    change_tags(run, add=["kept"])
    assert read_annotations(run) == Annotations(("kept",), (), "two\nlines")
    set_note(run, "")
    assert read_annotations(run) == Annotations(("kept",), (), "")


@pytest.mark.parametrize("tag", ["", "two words", "a\tb", "x" * 61, "\x1b[31m", "+signed", "-signed"])
def test_invalid_tags_are_refused_and_nothing_is_written(make_run, tag):
    run = make_run()
    with pytest.raises(RunError, match="cannot be a tag"):
        change_tags(run, add=["good", tag])
    with pytest.raises(RunError, match="added and removed at once"):
        change_tags(run, add=["same"], remove=["same"])
    assert not run.annotations_json.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"note": "four weeks of work",\n "added": ["kept"],}\n',
        "[]",
        '{"added": ["x", 5], "note": "precious"}',
        '{"note": ["by", "hand"]}',
    ],
)
def test_damaged_annotations_are_ignored_and_never_written_over(make_run, text):
    run = make_run(tags=["a"])
    run.annotations_json.write_text(text)
    acts: list[Callable[[], object]] = [
        lambda: change_tags(run, add=["b"]),
        lambda: set_note(run, "n"),
        lambda: set_archived(run, archived=True),
        lambda: note_as_written(run),
    ]
    for act in acts:
        with pytest.raises(RunError, match=r"annotations\.json is damaged \(.*\): correct it"):
            act()
    assert tags(run) == ("a",) and read_annotations(run).note == ""
    assert run.annotations_json.read_text() == text


def test_annotations_that_the_disk_does_not_give_are_never_written_over(make_run):
    run = make_run()
    run.annotations_json.symlink_to("/proc/self/mem")  # a file of which a read gives EIO
    with pytest.raises(RunError, match=r"cannot be read \(Input/output error\)"):
        set_note(run, "n")
    assert run.annotations_json.is_symlink() and read_annotations(run) == Annotations()


def test_what_a_change_does_not_understand_stays_in_the_file(make_run):
    run = make_run()
    run.annotations_json.write_text('{"note": "by hand", "later": 1}')
    change_tags(run, add=["b"])
    assert read_json(run.annotations_json) == {"note": "by hand", "later": 1, "added": ["b"], "removed": []}


def test_words_are_sorted_by_their_sign():
    assert tag_words(["a", "+c", "-b", "d", "+e"]) == (["a", "d"], ["c", "e"], ["b"])
