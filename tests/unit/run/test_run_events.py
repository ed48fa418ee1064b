import json
import math
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.codec import Count, Seconds
from rbp_engine.printable import Line, Lines, one_line, visible
from rbp_engine.run import writer as run_writer
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import event_reader
from rbp_engine.run.files.event_reader import EventReader, read_events, read_last_events
from rbp_engine.run.files.events import (
    KINDS,
    VERSION,
    CheckpointSaved,
    Event,
    Heartbeat,
    Metrics,
    ReachedSoFar,
    RunEnd,
    RunStart,
    Scores,
    Validation,
    WarningRaised,
    from_json,
    supersede,
    to_json,
)
from rbp_engine.run.writer import EventWriter
from tests.full_disk import files_of_at_most

# What a worker writes is printable; other text becomes so when it is read, and has its own tests.
LINE = st.text(max_size=20).map(one_line)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 2**53)
JSON = st.recursive(
    st.none() | st.booleans() | COUNT | NUMBER | LINE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINE, inner, max_size=3),
    max_leaves=6,
)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    Count: COUNT,
    Seconds: st.floats(0, 1e9),
    float: NUMBER,
    bool: st.booleans(),
    str: LINE,
    Line: LINE,
    Lines: st.text(max_size=20).map(visible),
    Any: JSON,
    dict[str, Any]: st.dictionaries(LINE, JSON, max_size=3),
    list[Line]: st.lists(LINE, max_size=3),
    list[float | None]: st.lists(st.none() | NUMBER, max_size=3),
    list[list[float | None]]: st.lists(st.lists(st.none() | NUMBER, max_size=3), max_size=3),
    NoneType: st.none(),
}
SCORES = st.builds(Scores, st.none() | NUMBER, epoch=st.none() | COUNT)
VALUES[ReachedSoFar] = st.builds(ReachedSoFar, SCORES, SCORES, SCORES, st.none() | COUNT, VALUES[Seconds])


def bodies(kind: type) -> st.SearchStrategy[Any]:
    """Any body of this kind, made from the types of its fields."""
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for entry in fields(kind):
        hint = hints[entry.name]
        alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        values[entry.name] = st.one_of(*(VALUES[alternative] for alternative in alternatives))
    return st.builds(kind, **values)


def events(**fixed: Any) -> st.SearchStrategy[Event]:
    body = st.one_of(*(bodies(kind) for kind in KINDS.values()))
    t = st.floats(0, 4e9).map(lambda value: round(value, 3))
    anything = {"seq": COUNT, "t": t, "attempt": COUNT, "rank": COUNT, "step": COUNT, "body": body}
    return st.builds(Event, **(anything | fixed))


def read(line: str) -> Event | None:
    return from_json(line.encode())


def metrics(step: int) -> Metrics:
    return Metrics(epoch=0, loss=1.0 / step, top1=0.5, lr=0.1)


def heartbeat(number: int) -> bytes:
    return to_json(Event(number, 1.0, 1, 0, number, Heartbeat())).encode() + b"\n"


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


@settings(max_examples=400)
@given(events())
def test_an_event_of_any_kind_reads_back_equal(event):
    line = to_json(event)
    assert "\n" not in line
    assert from_json(line.encode()) == event


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_non_finite_number_becomes_null_at_any_depth(value):
    body = RunEnd("failed", last={"loss": value, "deep": [1.0, {"x": (value,)}]})
    line = to_json(Event(0, 1.0, 1, 0, 5, body))
    json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    again = read(line)
    assert again.body == RunEnd("failed", last={"loss": None, "deep": [1.0, {"x": [None]}]})


def test_text_that_utf8_cannot_encode_is_written_and_read_back_as_escapes(tmp_path):
    """A file name that is not UTF-8 becomes text with lone surrogates, for instance in an error message."""
    body = WarningRaised("no such file: caf\udce9.toml")  # as from an older release
    writer = EventWriter(tmp_path / "events", 1)
    writer.write(body, 0)
    writer.close()
    assert [event.body for event in read_events(tmp_path / "events")] == [
        WarningRaised(visible(r"no such file: caf\udce9.toml"))
    ]


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_line_that_is_not_an_event_is_skipped(line):
    assert from_json(line) is None


GOOD = json.loads(to_json(Event(0, 1.0, 1, 0, 5, Metrics(0, 0.5, None, 0.1))))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "from_the_future"}, {"kind": ["heartbeat"]}, {"v": VERSION + 1}, {"seq": None}, {"kind": "validation"},
        {"attempt": float("inf")}, {"loss": "0.5"}, {"epoch": None}, {"top1": []}, {"epoch": 10**30}, {"t": 1e300},
        {"step": -1}, {"rank": 10**400},
    ],
)  # fmt: skip
def test_an_unknown_kind_another_version_and_a_value_that_does_not_fit_are_skipped_and_an_unknown_field_alone(change):
    assert read(json.dumps(GOOD)) == read(json.dumps(GOOD | {"unknown": 1})) is not None
    assert read(json.dumps(GOOD | change)) is None


@pytest.mark.parametrize("at_once", [1, 7, run_writer.READ_AT_ONCE])
def test_a_resuming_writer_cuts_off_an_incomplete_last_line_and_continues_numbering(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(run_writer, "READ_AT_ONCE", at_once)
    path = tmp_path / "events" / "rank0.jsonl"
    first = EventWriter(path, 1)
    for step in (1, 2):
        first.write(metrics(step), step)
    first.close()
    with path.open("ab") as file:
        file.write(to_json(Event(2, 9.0, 1, 0, 3, metrics(3))).encode()[:-4])
    second = EventWriter(path, 2)
    assert second.write(RunStart(), 2).seq == 2
    second.close()
    found = EventReader(path).poll()
    assert [(event.seq, event.attempt, event.step) for event in found] == [(0, 1, 1), (1, 1, 2), (2, 2, 2)]
    assert path.read_bytes().endswith(b"}\n")


def test_a_reader_reads_what_a_resuming_writer_puts_in_place_of_an_incomplete_line(tmp_path):
    """Between two polls of the reader, the torn line is cut off and more than its length is written."""
    path = tmp_path / "events"
    torn = to_json(Event(0, 1.0, 1, 0, 3, WarningRaised("of the killed attempt"))).encode()[:-9]
    reader = EventReader(write_lines(path, torn))
    assert reader.poll() == []
    writer = EventWriter(path, 2)
    expected = [writer.write(body, 2, 2.0) for body in (WarningRaised("of the resumed attempt" * 3), Heartbeat())]
    writer.close()
    assert reader.poll() == expected


@given(st.lists(events(), max_size=8), st.lists(st.integers(1, 200), max_size=40))
def test_a_reader_follows_a_file_that_grows_in_arbitrary_chunks(written, sizes):
    data = b"".join(to_json(event).encode() + b"\n" for event in written)
    found: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        reader = EventReader(path)
        with path.open("ab", buffering=0) as file:
            for size in [*sizes, len(data)]:
                file.write(data[:size])
                data = data[size:]
                found += reader.poll()
    assert found == written


@given(st.lists(events() | st.binary(max_size=400), max_size=8), st.integers(1, 300))
def test_a_reader_with_a_small_buffer_reads_the_same_and_leaves_out_long_lines(written, at_once):
    longest = at_once + 150
    lines = [to_json(line).encode() if isinstance(line, Event) else line.replace(b"\n", b"") for line in written]
    expected = [event for line in lines if len(line) < longest and (event := from_json(line)) is not None]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = write_lines(Path(folder) / "events", *(line + b"\n" for line in lines))
        patch.setattr(event_reader, "READ_AT_ONCE", at_once)
        patch.setattr(event_reader, "LONGEST_LINE", longest)
        reader = EventReader(path)
        found = reader.poll_some()
        while reader.behind:
            found += reader.poll_some()
        assert found == expected
        assert reader.skipped_lines == len(lines) - len(expected)


def test_the_line_after_a_cut_off_long_line_is_read(tmp_path):
    good = heartbeat(5)
    path = write_lines(tmp_path / "events", good, b"x" * (event_reader.LONGEST_LINE + 1))
    reader = EventReader(path)
    assert len(reader.poll()) == 1
    os.truncate(path, len(good))
    assert reader.poll() == []
    write_lines(path, good, good)
    assert len(reader.poll()) == 1


def test_the_last_events_of_a_file_are_found_without_reading_the_rest(tmp_path):
    path = tmp_path / "events"
    assert read_last_events(path) == []
    lines = [heartbeat(number) for number in range(100)]
    write_lines(path, *lines)
    assert [event.seq for event in read_last_events(path, size=2 * len(lines[-1]) + 5)] == [98, 99]
    assert len(read_last_events(path)) == 100


def test_threads_write_complete_lines_and_each_number_once(tmp_path):
    writer = EventWriter(tmp_path / "events", 1)
    bodies = [WarningRaised(f"{thread}" * 500) for thread in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: [writer.write(body, step) for step in range(50)], bodies))
    writer.close()
    found = read_events(tmp_path / "events")
    assert [event.seq for event in found] == list(range(400))
    for body in bodies:
        assert [event.step for event in found if event.body == body] == list(range(50))


def test_a_line_that_does_not_fit_on_the_disk_is_an_error_and_leaves_no_trace(tmp_path):
    """The operating system accepts only the first 100 bytes of the line, as on a disk that fills up."""
    writer = EventWriter(tmp_path / "events", 1)
    writer.write(Heartbeat(), 1)
    whole = (tmp_path / "events").stat().st_size
    with files_of_at_most(whole + 100), pytest.raises(OSError, match="No space left"):
        writer.write(WarningRaised("x" * 1000), 2)
    assert (tmp_path / "events").stat().st_size == whole
    assert writer.write(Heartbeat(), 3).seq == 1
    writer.close()
    assert [(event.seq, event.step) for event in read_events(tmp_path / "events")] == [(0, 1), (1, 3)]


def history(*entries: tuple[int, int, Any]) -> list[Event]:
    return [Event(seq, float(seq), attempt, 0, step, body) for seq, (attempt, step, body) in enumerate(entries)]


@pytest.mark.parametrize("redone", [True, False])
def test_an_evaluation_that_is_not_yet_in_the_checkpoint_counts_once(redone):
    """A stop during an evaluation saves before it, at the same step; the next attempt then repeats the evaluation.

    If that attempt is killed between the evaluation and the checkpoint after it, the evaluation runs a third time.
    """
    result = Validation(epoch=1, loss=1.0, top1=0.5, top5=0.9, samples=360)
    kept = supersede(
        history(
            (1, 0, RunStart(epoch=0)),
            (1, 12, CheckpointSaved("step-00000012")),
            (2, 12, RunStart(resumed_from="step-00000012", epoch=0)),
            (2, 12, result),
            (3, 12, RunStart(resumed_from="step-00000012", epoch=0 if redone else 1)),
            *([(3, 12, result)] if redone else []),
        )
    )
    assert [event.attempt for event in kept if isinstance(event.body, Validation)] == [3 if redone else 2]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), st.booleans()), max_size=8))
def test_each_step_counts_once_however_often_a_run_is_resumed(attempts):
    """Each attempt resumes from a step that an earlier one has reached, or from nothing, and takes some steps."""
    written: list[Event] = []
    reached = 0
    for number, (back, steps, from_nothing) in enumerate(attempts, 1):
        start = 0 if from_nothing else max(0, reached - back)
        written.append(Event(len(written), 0.0, number, 0, start, RunStart()))
        for step in range(start + 1, start + steps + 1):
            body = metrics(step) if step % 2 else WarningRaised("lost with its step")
            written.append(Event(len(written), 0.0, number, 0, step, body))
        reached = start + steps
    told = [event.step for event in supersede(written) if not isinstance(event.body, RunStart)]
    assert told == list(range(1, reached + 1))


def test_lines_already_read_are_given_when_the_file_cannot_be_read_any_further(tmp_path, monkeypatch):
    class ReplacedWhileItIsRead(EventReader):
        def _next_lines(self) -> list[bytes]:
            lines = super()._next_lines()
            path.unlink()
            os.mkfifo(path)
            return lines

    path = tmp_path / "rank0.jsonl"
    path.write_bytes(b"first\nsecond\n")
    monkeypatch.setattr(event_reader, "READ_AT_ONCE", 8)
    assert ReplacedWhileItIsRead(path).poll_lines() == [b"first"]


def test_a_path_that_leads_to_no_file_has_no_lines_and_gives_one_message(tmp_path):
    path = tmp_path / "events" / "rank0.jsonl"
    path.parent.write_text("a file")  # nothing is there, and never will be
    assert EventReader(path).poll_lines() == read_last_events(path) == read_events(path) == []
    path.parent.unlink()
    path.parent.mkdir()
    for make in (lambda: path.symlink_to(path), lambda: os.mkfifo(path)):
        make()
        assert EventReader(path).poll_lines() == read_last_events(path) == []
        with pytest.raises(RunError, match=r"events cannot be read: .*rank0\.jsonl"):
            read_events(path)
        path.unlink()


def test_no_field_of_an_event_has_text_that_is_not_filtered_or_a_word_of_ours():
    plain = {
        (kind.__name__, f.name) for kind in KINDS.values() for f in fields(kind) if get_type_hints(kind)[f.name] is str
    }
    assert plain == {("ErrorRaised", "cause"), ("RunEnd", "status"), ("RunEnd", "cause")}
