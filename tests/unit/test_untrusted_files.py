"""Files and texts that somebody else may have made: what is refused, with which words, and what is read."""

import json
import os
import socket
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.untrusted_files import (
    NotAFile,
    TooComplex,
    TooLarge,
    described,
    open_untrusted,
    parse_json,
    parse_toml,
    read_untrusted,
    read_untrusted_text,
)


def test_a_regular_file_is_read_through_a_link_too(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfab\r\nc")
    (tmp_path / "link").symlink_to("a")
    assert read_untrusted(tmp_path / "link", 100) == b"\xef\xbb\xbfab\r\nc"
    assert read_untrusted_text(tmp_path / "a") == "ab\r\nc"
    with open_untrusted(str(tmp_path / "a")) as file:
        assert not os.get_inheritable(file.fileno())


def test_what_is_no_regular_file_is_refused_by_its_kind(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket may not be long.
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        kinds = {"pipe": "a named pipe", "zero": "a device", "socket": "a socket", ".": "a directory"}
        for name, kind in kinds.items():
            with pytest.raises(NotAFile) as caught:
                open_untrusted(tmp_path / name)
            assert str(caught.value) == f"{tmp_path / name} cannot be read: {kind}, not a file"


def test_a_path_that_leads_nowhere_is_an_oserror_of_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileNotFoundError):
        open_untrusted(tmp_path / "missing")
    for name, reason in {"loop": "symbolic links", "nul\0": "no file can have", "\ud800": "no file can have"}.items():
        with pytest.raises(OSError) as caught:
            open_untrusted(tmp_path / name)
        assert reason in described(caught.value)
        assert "\n" not in described(caught.value)


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(TooLarge, match=r"sparse cannot be read: larger than 1 MiB$"):
        open_untrusted(tmp_path / "sparse", limit=2**20)
    (tmp_path / "exact").write_bytes(b"12345")
    assert read_untrusted(tmp_path / "exact", 5) == b"12345"


def test_a_file_that_says_it_is_empty_is_bounded_all_the_same():
    with pytest.raises(TooLarge):
        read_untrusted("/proc/self/status", 10)


def test_json_is_parsed_unless_it_is_long_or_deep():
    deep = b"[" * 32 + b"]" * 32
    assert parse_json(b'\xef\xbb\xbf{"a": [1, "\\"[[[[{"]}') == {"a": [1, '"[[[[{']}
    assert parse_json(deep)
    assert parse_json(b'["' + b"[" * 99 + b'", "\\\\"]') == ["[" * 99, "\\"]
    assert len(parse_json(b"[" + b"[]," * 1000 + b"[]]")) == 1001
    for content, reason in {
        b"[" + deep + b"]": "nested more than 32 deep",
        b'{"":' * 100_000 + b"}" * 100_000: "nested more than 32 deep",
        b'["", "\\\\", ' + deep + b"]": "nested more than 32 deep",
        b"[" + b"{}," * 200_000 + b"{}]": "more than 200000 arrays and objects",
        b"0" * 11: "longer than 10 bytes",
    }.items():
        with pytest.raises(TooComplex, match=reason):
            parse_json(content, limit=10 if "bytes" in reason else 2**20)


def test_json_that_is_damaged_is_a_value_error_in_little_time():
    for content in (b"", b'"\\' * 500_000, b'["' + b'\\"' * 500_000, b"]" * 2**20, b"[[" * 20, "[]".encode("utf-16")):
        with pytest.raises(ValueError):
            parse_json(content)


def test_toml_is_parsed_unless_it_is_long_deep_or_has_thousands_of_keys():
    signs = "[{.,=" * 2000
    for text in (f'a = "{signs}\\""', f"a = '{signs}'", f'a = """\n{signs}"""""', f"a = '''{signs}'''''", f"# {signs}"):
        parse_toml(text)
    assert parse_toml("a = " + "[" * 31 + "]" * 31)
    for text, reason in {
        "a = [" + "0," * 4001 + "]": "more than 4000 keys",
        "[[a]]\n" * 4001: "more than 4000 keys",
        "".join(f"[a{number}]\n" for number in range(30_000)): "more than 4000 keys",
        "".join(f"a{number}=0\n" for number in range(30_000)): "more than 4000 keys",
        f"{'a.' * 100_000}a = 0": "nested more than 32 deep",
        f" {'a . ' * 33}a = 0": "nested more than 32 deep",
        f"b = {{ {'_.' * 33}a = 0 }}": "nested more than 32 deep",
        "a = " + "[" * 3000 + "]" * 3000: "nested more than 32 deep",
        f"a = {'{a=' * 100}0{'}' * 100}": "nested more than 32 deep",
        f"[{'a.' * 20}a]\nb = {{ {'b.' * 20}b = 0 }}": "nested more than 32 deep",
        'a = [ """x"""", ' + "[" * 40 + "]" * 40 + "]": "nested more than 32 deep",
        "# " * 2**17 + "\n": "longer than 256 KiB",
    }.items():
        with pytest.raises(TooComplex, match=reason):
            parse_toml(text)


def test_toml_that_is_damaged_is_a_value_error_in_little_time():
    for text in ('a = "' + "\\" * 250_001, "a = " + "'''''" * 50_000 + "x", '"\\' * 130_000, "[" * 33):
        with pytest.raises(ValueError):
            parse_toml(text)


SIGNS = st.text("ab\"'\\[{]},.=#\n ", max_size=12)
VALUES = st.recursive(
    SIGNS.map(json.dumps)
    | SIGNS.map(lambda text: "'" + text.replace("'", "").replace("\n", "") + "'")
    | SIGNS.map(lambda text: '"""' + json.dumps(text)[1:-1] + '"' * (len(text) % 3) + '"""')
    | SIGNS.map(lambda text: "'''" + text.replace("'", "") + "'" * (len(text) % 3) + "'''"),
    lambda inner: st.lists(inner, max_size=4).map(lambda values: "[" + ', # [[ "\n'.join(values) + "]"),
    max_leaves=20,
)


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES)
def test_brackets_in_strings_and_comments_of_toml_do_not_count(value):
    text = f"a = {value} # \"'[[\n"
    values = tomli.loads(text)
    depth = _depth(values["a"])
    assert parse_toml(text) == values
    full = "[" * (31 - depth) + value + "]" * (31 - depth)
    parse_toml(f"b = 0 # {'[' * 40}\na = {full}")
    with pytest.raises(TooComplex, match="nested more than 32 deep"):
        parse_toml(f"b = 0 # {'[' * 40}\na = [[{full}]]")
