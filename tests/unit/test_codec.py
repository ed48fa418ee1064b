"""Records of anybody's JSON are read whole, by their types, or not at all."""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.codec import DEEPEST, LARGEST, Count, Fraction, Integer, Seconds, convert, convert_verbatim, decode
from rbp_engine.os_process import Process
from rbp_engine.printable import NO_TEXT, Line, Lines, one_line, visible
from rbp_engine.run.files.annotations import Annotations
from rbp_engine.run.files.attempts import AttemptRecord
from rbp_engine.run.files.energy import Energy
from rbp_engine.run.files.evaluation_json import Evaluation
from rbp_engine.run.files.events import KINDS
from rbp_engine.run.files.run_json import RunJson
from rbp_engine.run.files.summary import Summary, SummaryJson


@dataclass(frozen=True)
class Inner:
    name: Line
    share: Fraction | None = None


@dataclass(frozen=True)
class Outer:
    count: Count
    word: str = ""
    text: Lines = NO_TEXT
    inner: Inner | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[str, Line] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    devices: tuple[int | Line, ...] = ()
    at: Seconds = 0.0
    signed: Integer = 0
    anything: Any = None


def text_of(**fields: Any) -> bytes:
    return json.dumps({"count": 1} | fields, ensure_ascii=False).encode(errors="surrogatepass")


def test_a_record_is_read_with_its_defaults_and_without_unknown_fields():
    assert decode(Outer, text_of(later={"deep": [1]})) == Outer(1)
    whole = Outer(
        3, "w", NO_TEXT, Inner(NO_TEXT, 1.0), (Inner(NO_TEXT),), {"a": NO_TEXT}, {"b": 2}, (1, NO_TEXT), 5.0, -2
    )
    assert decode(Outer, json.dumps(dataclasses.asdict(whole)).encode()) == whole


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"count": "1"}, "count: expected int, got str"),
        ({"count": True}, "count: expected int, got bool"),
        ({"count": 1.0}, "count: expected int, got float"),
        ({"count": -1}, "count: expected int >= 0"),
        ({"count": LARGEST}, "count: expected int <= 9223372036854775807"),
        ({"signed": -LARGEST}, "signed: expected int >="),
        ({"at": 1e12}, "at: expected float <="),
        ({"inner": {"name": "n", "share": 1.5}}, "inner.share: expected float <= 1.0"),
        ({"inner": {}}, "inner: object missing required field name"),
        ({"several": [{"name": "n"}, 3]}, r"several\[1\]: expected object, got int"),
        ({"devices": [None]}, r"devices\[0\]: expected"),
        ({"anything": 10**30}, "an integer has more than 64 bits"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(fields, why):
    with pytest.raises(ValueError, match=why):
        decode(Outer, text_of(**fields))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "1e999", "1" * 400])
def test_numbers_are_finite(word):
    with pytest.raises(ValueError, match=r"malformed|out of range"):
        decode(Outer, text_of(at=0.25).replace(b"0.25", word.encode()))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", b"null", b'{"count": 1} x', b"[" * 100_000, b'{"count": 1, "word": "\\ud800"}'],
)
def test_another_content_is_no_record(content):
    with pytest.raises(ValueError, match=r"\w"):
        decode(Outer, content)


def test_values_of_no_declared_type_are_not_nested_without_end():
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = [deep]
    assert decode(Outer, text_of(anything=deep)).anything == deep
    with pytest.raises(ValueError, match=f"nested more than {DEEPEST} deep"):
        decode(Outer, text_of(anything={"a": deep}))
    for unknown in (b'{"count": 1, "x": %b}' % (b"[" * 100_000), b'{"count": 1, "anything": %b}' % (b"[" * 100_000)):
        with pytest.raises(ValueError, match="nested too deep"):
            decode(Outer, unknown)


def texts(value: Any) -> typing.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from texts([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from([True, False]))
def test_all_text_is_printable_however_it_is_written(text, escaped):
    said = {"word": text, "text": text, "inner": {"name": text}, "several": [{"name": text}], "by_name": {text: text}}
    said |= {"numbers": {text: 1}, "devices": [text, 2], "anything": {text: [text, {"x": text}]}, "count": 1}
    found = decode(Outer, json.dumps(said, ensure_ascii=escaped).encode())
    lines = dataclasses.asdict(found)
    several = lines.pop("text")
    assert visible(several) == several and all(one_line(one) == one for one in texts(lines))
    if text.isprintable():
        assert dataclasses.asdict(found) == dataclasses.asdict(Outer(1)) | said | {
            "inner": {"name": text, "share": None}, "several": ({"name": text, "share": None},), "devices": (text, 2),
        }  # fmt: skip


def test_what_is_to_be_used_is_converted_as_it_stands():
    @dataclass(frozen=True)
    class Place:
        path: Path
        word: str

    assert convert_verbatim(Place, {"path": "/a\x1b\udcff", "word": "\ud800"}) == Place(Path("/a\x1b\udcff"), "\ud800")
    with pytest.raises(ValueError, match="path: expected a path"):
        convert_verbatim(Place, {"path": 3, "word": ""})


def test_a_value_that_was_parsed_elsewhere_is_read_as_a_file_is():
    assert convert(Outer, {"count": 2, "word": "a\x1bb"}) == Outer(2, r"a\x1bb")
    with pytest.raises(ValueError, match="at: expected float"):
        convert(Outer, {"count": 2, "at": float("nan")})
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in ({"count": 2, "anything": deep}, {"count": 10**400}, {"count": {1, 2}}, {3: 4}, "\ud800"):
        with pytest.raises(ValueError, match=r"\w"):
            convert(Outer, value)


RECORDS = (Annotations, AttemptRecord, Energy, Evaluation, SummaryJson, RunJson, Summary, *KINDS.values())


def hints(kind: Any) -> typing.Iterator[Any]:
    yield kind
    if dataclasses.is_dataclass(kind) and kind is not Process:  # whose numbers are only compared
        known = typing.get_type_hints(kind, include_extras=True)
        for one in dataclasses.fields(kind):
            yield from hints(known[one.name])
    elif typing.get_origin(kind) is not typing.Annotated:
        for inner in typing.get_args(kind):
            yield from hints(inner)


@pytest.mark.parametrize("kind", RECORDS)
def test_every_whole_number_in_a_file_has_limits(kind):
    assert int not in list(hints(kind))
