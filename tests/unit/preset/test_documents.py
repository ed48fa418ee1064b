from typing import Any

import tomli
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rbp_engine.settings.documents import KeyPath, dotted, key_lines

SPACE = st.sampled_from(["", " ", "\t "])
BLANK = st.sampled_from(["", " ", "\n", " # ] } , \" '''\n", "\n\n\t"])
KEY = st.one_of(
    st.text("ab_-1", min_size=1, max_size=3),
    st.sampled_from(['"a.b"', "'x = [y]'", '"q\\"#"', '""', "'\\'", '"\\u00e9"']),
)
SCALAR = st.sampled_from(
    ["1", "-2.5e3", "inf", "true", "1979-05-27 07:32:00", '"] # , \\" }"', "'}, \\'", '""', "''", '""""""',
     '"""\nkey = 1\n\\"\\"\\" # [t]\n"""', '""""quoted""""', '"""a"""""', "'''\n[no]\n\\'''", "''''two'''''"]
)  # fmt: skip


def _array(elements: list[str], blank: str, trailing: bool) -> str:
    inside = f",{blank}".join(elements)
    return f"[{blank}{inside}{',' if trailing and elements else ''}{blank}]"


def _inline(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + space + ", ".join(f"{key}{space}={space}{value}" for key, value in pairs) + space + "}"


DOTTED_KEY = st.lists(KEY, min_size=1, max_size=3)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=3), BLANK, st.booleans()),
        st.builds(_inline, st.lists(st.tuples(DOTTED_KEY.map(".".join), inner), max_size=3), SPACE),
    ),
    max_leaves=6,
)


def _statement(kind: str, parts: list[str], space: str, value: str) -> str:
    key = f"{space}.{space}".join(parts)
    if kind == "table":
        return f"{space}[{space}{key}{space}]  # a table"
    if kind == "array":
        return f"[[{space}{key}{space}]]"
    return f"{space}{key}{space}={space}{value}{space}# = ["


STATEMENTS = st.lists(
    st.tuples(st.sampled_from(["pair", "pair", "table", "array"]), DOTTED_KEY, SPACE, VALUE), max_size=6
)


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} | {found for key, item in inner for found in _paths(item, (*path, key))}


@settings(deadline=None, max_examples=150)
@given(STATEMENTS, st.sampled_from(["\n", "\r\n"]))
def test_exactly_the_keys_that_tomli_reads_have_the_line_where_their_statement_starts(statements, newline):
    text, starts = "", []
    for statement in statements:
        starts.append((text.count("\n") + 1, statement))
        text += (_statement(*statement) + "\n").replace("\n", newline)
    try:
        values = tomli.loads(text)
    except tomli.TOMLDecodeError:
        assume(False)
    lines = key_lines(text)
    assert set(lines) == _paths(values) - {()}
    by_line: dict[int, list[KeyPath]] = {}
    for path, line in lines.items():
        by_line.setdefault(line, []).append(path)
    for line, (_, parts, _, _) in starts:
        words = tuple(next(iter(tomli.loads(f"{part} = 0"))) for part in parts)
        names = [tuple(part for part in path if isinstance(part, str)) for path in by_line[line]]
        assert any(name[-len(words) :] == words for name in names)


def test_elements_of_an_array_have_the_line_of_its_key_and_tables_after_tables_belong_to_the_last():
    lines = key_lines("[paper]\nfigures = [\n  { top1 = 1 },\n  # none\n  { top1 = 2 },\n]\n[run]\n")
    assert lines[("paper", "figures")] == lines[("paper", "figures", 0, "top1")] == lines[("paper", "figures", 1)] == 2
    assert lines[("run",)] == 7
    lines = key_lines("[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2\n[[a.c]]\n")
    assert (lines[("a", 0, "x")], lines[("a", 1, "b", "y")], lines[("a", 1, "c", 0)]) == (2, 5, 6)


def test_paths_are_written_as_a_user_would():
    paths: tuple[KeyPath, ...] = (("optim", "lr"), ("paper", "figures", 0, "top1"), ("a", "b.c"), ())
    assert [dotted(path) for path in paths] == ["optim.lr", "paper.figures[0].top1", "a.'b.c'", ""]
