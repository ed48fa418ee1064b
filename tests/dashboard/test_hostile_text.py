"""Runs and presets whose every text is hostile to a terminal, in a real one of 80×24: it gets no escape but Textual's.

The same keys are pressed over the same files with harmless text, and the kinds of escape sequences must be the same.
"""

import contextlib
import json
import os
import re
import select
import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from textual.color import Color
from textual.content import Content

from rbp_tui.dashboard.line_filters import PrintableFilter
from rbp_tui.dashboard.textual_faults import literal

HARMLESS = "ordinary text of a run (with brackets) and several words"
SEQUENCE = re.compile(
    rb"\x1b(?:(?P<csi>\[[0-?]*[ -/]*[@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|.)", re.DOTALL
)
# C1, bidirectional and invisible signs in UTF-8, and control characters but line breaks.
RAW = re.compile(
    rb"\xc2[\x80-\x9f]|\xe2\x80[\x8b\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xd8\x9c|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]"
)
ESCAPE, PALETTE = "\x1b", "\x10"
PRESSES = 5
#: Keys through every screen, and words in what each brings: lists, dialogs, panels of the monitor, the palette.
STEPS = (
    ("1", "Diff to"), ("2", "best %"), ("n", "Note on bad-3"), (ESCAPE, "mark"), ("t", "Tags of"), (ESCAPE, "mark"),
    ("\r", "traceback"), ("T", ""), ("z", ""), ("z", "epoch"), (">", "traceback"), ("T", ""), ("4", "x epoch"),
    ("5", "cores"), (PALETTE, "Search"), ("Preset bad", "Preset bad[b]two["), ("\r", "extends"),
)  # fmt: skip


def kinds(output):
    """The kinds of escape sequences: colours and places without their numbers, everything else in full."""
    found = set()
    for match in SEQUENCE.finditer(output):
        sequence = match[0]
        if match["csi"] is not None and sequence[-1:] in b"mHABCDGX":
            sequence = b"\x1b[" + sequence[-1:]
        found.add(sequence)
    return found


def show_everything(terminal):
    """Press the keys, and leave the dashboard; what the terminal got."""
    for key, word in STEPS:
        press(terminal, key, word)
    terminal.process.terminate()
    terminal.read_until(terminal.ended)
    assert b"Traceback" not in terminal.output
    return terminal.output


def press(terminal, key, word):
    """Press keys, again if a busy dashboard was not ready for them, until the word and what follows is there."""
    before = len(terminal.output)
    for _ in range(PRESSES):
        os.write(terminal.master, key.encode())
        with contextlib.suppress(AssertionError):
            terminal.read_until(lambda: word.encode() in SEQUENCE.sub(b"", terminal.output[before:]), timeout=20.0)
            break
    else:
        raise AssertionError(f"{word!r} has not come after {key!r}: {terminal.output[-2000:]!r}")
    deadline = time.monotonic() + 1.0
    while select.select([terminal.master], [], [], 0.1)[0] and time.monotonic() < deadline:
        terminal.read()


def fill(home, write_texts, text):
    for number, status in enumerate(("failed", "completed", "running", text)):
        write_texts(home / "runs", f"bad-{number}", text, status)
    presets = home / "presets"
    presets.mkdir(parents=True)
    for name, inherited in (("bad", "digits"), ("bad[b]two[", "bad")):
        words = json.dumps(text.replace("\ud800", ""))
        (presets / f"{name}.toml").write_text(f'extends = "{inherited}"\ntitle = {words}\ndescription = {words}\n')


def test_a_terminal_gets_no_escape_from_a_run_or_a_preset(home, monkeypatch, write_texts, hostile_text, open_terminal):
    terminals = []
    for name, text in (("harmless", HARMLESS), ("hostile", hostile_text)):
        folder = home / name
        fill(folder, write_texts, text)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        terminals.append(open_terminal("--runs-dir", str(folder / "runs")))
    with ThreadPoolExecutor() as pool:
        harmless, hostile = pool.map(show_everything, terminals)
    assert harmless.count(b"ordinary text") > 20 and hostile.count(rb"\x1b]52") > 20
    assert kinds(hostile) <= kinds(harmless)
    assert set(RAW.findall(SEQUENCE.sub(b"", hostile))) <= set(RAW.findall(SEQUENCE.sub(b"", harmless)))


@given(st.text(st.sampled_from("[]\\/=@#$ab'\"(), .\x1b"), max_size=10))
@settings(deadline=None)
@example("b/[/")
def test_a_command_of_the_palette_has_no_markup(text):
    assert Content.from_markup(literal(text)).plain == text.replace("\x1b", r"\x1b")


def test_the_last_filter_takes_out_what_a_terminal_would_obey_and_keeps_the_width():
    line = [Segment("a\x1b[2J\x9b\u202eb"), Segment("plain")]
    filtered = PrintableFilter().apply(line, Color(0, 0, 0))
    assert [segment.text for segment in filtered] == ["a[2Jb", "plain"]
    assert [segment.cell_length for segment in filtered] == [segment.cell_length for segment in line]
