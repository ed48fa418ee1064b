"""What is read from a run that somebody else wrote is printable; what is in its files stays as it was."""

from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import Any

from rbp_engine.run.files.annotations import change_tags, note_as_written, set_note
from rbp_engine.run.files.attempts import read_attempts
from rbp_engine.run.files.evaluation_json import read_evaluation
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.layout import read_json
from rbp_engine.run.files.log_files import log_files, named_folders
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import load_summary, write_status
from rbp_engine.run.store.run_settings import read_settings
from rbp_engine.run.store.store import record


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        yield from texts(asdict(value))
    elif isinstance(value, dict):
        yield from texts([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)


def test_every_text_of_a_record_is_printable(tmp_path, write_texts, hostile_text):
    for status in ("failed", "running", "queued", hostile_text):
        run = write_texts(tmp_path, f"run-{status[:4].strip('=+')}", hostile_text, status)
        found = record(run)
        assert found.readable
        events = EventReader(run.events()).poll()
        known = [*texts(read_run_json(run)), *texts(list(read_attempts(run))), *texts(found)]
        known += [*texts([event.body for event in events]), *texts([dict(one) for one in read_settings(run).sections])]
        known += texts(read_evaluation(run))
        assert len(events) == 8 and len([text for text in known if "]52" in text]) > 30
        assert [text for text in known if not text.replace("\n", "").isprintable()] == []


def test_what_is_written_back_keeps_the_rest_as_it_was(tmp_path, write_texts, hostile_text):
    text = hostile_text.replace("\ud800", "")
    run = write_texts(tmp_path, "run", text)
    noted = note_as_written(run)
    change_tags(run, ["new"], ["two"])
    assert note_as_written(run) == noted == f"{text}\n{text}"
    assert read_json(run.annotations_json)["added"][-1] == "new"
    set_note(run, "short")
    assert read_json(run.annotations_json)["note"] == "short"
    write_status(run, "stopped", "by \x1b[31mhand")
    assert load_summary(run).reason == r"by \x1b[31mhand"


def test_a_folder_of_logs_that_cannot_be_one_does_not_hide_those_that_are_there(tmp_path, write_texts, hostile_text):
    for number, named in enumerate((hostile_text, "ranks/0\0", "x" * 5000, "ranks/loop", "../../..", "/etc", "")):
        run = write_texts(tmp_path, f"run-{number}", named)
        (run.ranks / "loop").symlink_to(run.ranks / "loop")
        assert log_files(run, named_folders(run)) == {"0": (run.stdout(), run.stderr())}
