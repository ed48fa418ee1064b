"""Following a log by byte offset, reading a bounded part at a time."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.dashboard.monitor.log_tail import AT_ONCE, LONGEST_LINE, LogTail


@pytest.fixture
def log(tmp_path):
    return tmp_path / "stdout.log"


def test_only_the_end_of_a_long_log_is_shown_with_the_size_of_the_rest(log):
    lines = [f"line {number}" for number in range(100_000)]
    log.write_text("\n".join(lines) + "\n")
    first, *shown = LogTail(log).poll()
    assert "not shown" in first
    assert shown == lines[-len(shown) :]
    assert 10_000 < len(shown) < 50_000


def test_a_hundred_megabytes_in_one_line_are_not_read_and_not_shown(log):
    with log.open("wb") as file:
        file.write(b"before\n")
        file.truncate(100 * 2**20)  # a hole: zeros without a line end
    tail = LogTail(log)
    assert tail.poll() == ["… 100 MiB not shown …"]
    assert tail.poll() == []
    with log.open("ab") as file:
        file.write(b"\nafter\n")
    assert tail.poll() == ["after"]


def test_an_endless_line_is_cut_and_marked(log):
    tail = LogTail(log)
    log.write_text("x" * (AT_ONCE - 10))
    (line,) = tail.poll()
    assert line.startswith("x" * LONGEST_LINE) and line.endswith("cut)")
    with log.open("a") as file:
        file.write("yyy\nnext\n")
    assert tail.poll() == ["next"]


def test_a_long_line_is_cut_and_its_length_shown(log):
    log.write_text("x" * 5000 + "\nnext\n")
    line, after = LogTail(log).poll()
    assert line == "x" * LONGEST_LINE + " … (5000 characters, cut)"
    assert after == "next"


def test_terminal_control_sequences_are_removed(log):
    log.write_text("\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07 \x07bell\tend\r\n\x9b31m\x1b(B\x1b\n")
    assert LogTail(log).poll() == ["red bell        end", "31m(B"]


def test_only_the_last_state_of_a_progress_bar_is_shown(log):
    log.write_bytes(b"10 %\r50 %\r100 %\ndone\r\n")
    assert LogTail(log).poll() == ["100 %", "done"]


def test_a_replaced_log_is_read_from_its_beginning(log):
    tail = LogTail(log)
    assert tail.poll() == []  # there is none yet
    log.write_text("old and long\n")
    tail.poll()
    log.write_text("new\n")
    assert tail.poll() == ["new"]


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"))), st.data())
def test_lines_are_complete_however_the_log_is_written(lines, data):
    whole = "".join(f"{line}\n" for line in lines).encode()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        tail, shown, at = LogTail(log), [], 0
        while at < len(whole):
            size = data.draw(st.integers(1, 40))
            with log.open("ab") as file:
                file.write(whole[at : at + size])
            at += size
            shown += tail.poll()
    assert [line.split() for line in shown] == [_plain(line).split() for line in lines]


def _plain(line):
    return "".join(sign for sign in line if not 0x7F <= ord(sign) < 0xA0)
