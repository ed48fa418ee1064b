"""Text that others wrote, on its way to people: no character of it controls the terminal, and ordinary text stays."""

import json
import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rbp_engine.printable import for_csv, in_json, keep_colours, one_line, unfinished, visible

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
ODD = "\x1b\x00\x07\x08\t\n\r\x0b\x7f\x85\x9b\x9d\u061c\u200e\u200f\u2028\u202a\u202e\u2066\u2069\ufeff\ud800\udcff"
TEXT = st.text(st.one_of(st.sampled_from(ODD + "[]0;m=+-@'\\… "), st.characters(exclude_categories=())))


def controls(text: str) -> list[str]:
    """The characters of a text that a terminal might obey."""
    return [
        sign
        for sign in text
        if ord(sign) < 0x20
        or 0x7F <= ord(sign) < 0xA0
        or sign in "\u061c\u200e\u200f"
        or "\u202a" <= sign <= "\u202e"
        or "\u2066" <= sign <= "\u2069"
        or "\ud800" <= sign <= "\udfff"
    ]


@given(TEXT)
@example(ODD)
def test_a_line_has_no_control_character_and_passes_the_filter_unchanged(text):
    shown = one_line(text)
    assert not controls(shown) and len(shown.splitlines()) <= 1
    assert one_line(shown) == shown and visible(shown) == shown
    shown.encode()


@given(TEXT)
@example(ODD)
def test_lines_have_no_control_characters_but_their_breaks(text):
    shown = visible(text)
    assert set(controls(shown)) <= {"\n"} and visible(shown) == shown
    assert shown.count("\n") == text.count("\n")
    shown.encode()


@given(TEXT, st.integers(1, 20))
def test_a_limit_is_a_limit_and_a_cut_can_be_seen(text, limit):
    for shown, whole in ((one_line(text, limit), one_line(text)), (visible(text, limit), visible(text))):
        assert len(shown) <= limit
        assert shown == whole or shown.endswith("…")
    assert one_line(one_line(text, limit), limit) == one_line(text, limit)


@given(TEXT)
@example(f"{ODD}\x1b[31m\x1b[2J\x1b]52;c;aGk=\x07\x1b[0;1;38:5:9m")
def test_a_log_keeps_its_colours_and_nothing_else(text):
    shown = keep_colours(text)
    assert COLOUR.findall(shown) == COLOUR.findall(text)
    assert set(controls(COLOUR.sub("", shown))) <= {"\n", "\t"}
    assert keep_colours(shown) == shown


@given(TEXT, st.integers(0, 100))
@example("a\x1b[3", 2)
def test_a_log_reads_the_same_in_parts(text, place):
    first, rest = text[:place], text[place:]
    kept = len(first) - unfinished(first)
    assert keep_colours(first[:kept]) + keep_colours(first[kept:] + rest) == keep_colours(text)


@given(TEXT)
@example("=1+1").via("a formula")
def test_no_cell_of_a_csv_file_is_a_formula(text):
    cell = for_csv(text)
    assert isinstance(cell, str) and not controls(cell) and for_csv(cell) == cell
    try:
        float(cell)
    except ValueError:
        assert not cell.lstrip().startswith(tuple("=+-@\t\r"))


@pytest.mark.parametrize("number", [-1, -0.5, None, "-0.5", "+1e-3", True])
def test_numbers_in_a_csv_file_stay_numbers(number):
    assert for_csv(number) == number


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5))
@example([ODD, "\U000e0041"])
def test_json_means_the_same_with_its_control_characters_escaped(value):
    for indent in (None, 2):
        shown = in_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert set(controls(shown)) <= {"\n"}
        shown.encode()
        assert json.loads(shown) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "text", ["Größe 1 µm", "学習率", "שלום", "مرحبا", "👩‍🔬 ±", "a\u00a0b\u202fc", string.printable[:95], "\ue0b0"]
)
def test_ordinary_text_of_every_script_stays_as_it_is(text):
    assert one_line(text) == visible(text) == keep_colours(text) == text


def test_control_characters_can_be_seen():
    assert one_line("a\x1b[2Jb\x07\x9b\u202e\ud800\n\tc") == r"a\x1b[2Jb\x07\u009b\u202e\ud800  c"
    assert visible("a\r\nb\rc\td") == "a\nb\\rc    d".replace(r"\r", r"\x0d")
    assert keep_colours("10 %\r20 %\r\n\x1b[1mend\x1b[0m\x1b[A") == "10 %\n20 %\n\x1b[1mend\x1b[0m\\x1b[A"
