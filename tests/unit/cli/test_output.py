"""Text from other people, on its way to a terminal or into JSON."""

import io
import json
import re

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rbp_engine.printable import LONGEST_TEXT
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.history.history_reader import read_alarms
from rbp_engine.run.store.store import list_runs
from rbp_tui.cli.output import cell, fail, print_json, print_rich, say, say_next
from rbp_tui.cli.runs.daily import _LogPrinter
from rbp_tui.cli.runs.show_view import describe_run
from rbp_tui.cli.safe_console import SafeConsole
from rbp_tui.cli.train.live import LivePicture, LiveTable
from rbp_tui.cli.train.views import JsonLines
from rbp_tui.text.styled import paragraph, styled

MARKUP = "[/b] [red]x[/] [link=http://x]y[/link] :bomb: \\"


@pytest.mark.parametrize(
    ("text", "shown"), [(MARKUP, MARKUP), ("a\x1b[2Jb\x07", r"a\x1b[2Jb\x07"), ("a\nb\r", "a b "), ("{} [b]", "{} [b]")]
)
def test_markup_and_control_characters_in_foreign_text_have_no_effect(text, shown):
    made = styled("[bold]{}[/] and [red]{}[/]", text, text)
    assert made.plain == f"{shown} and {shown}"
    assert [(span.start, span.end, span.style) for span in made.spans] == [
        (0, len(shown), "bold"),
        (len(shown) + 5, 2 * len(shown) + 5, "red"),
    ]


def test_a_styled_value_keeps_its_styles_within_those_of_the_template():
    made = styled("{}: [dim]{}[/]", Text("ok", style="green"), paragraph("a\nb\x1b"))
    assert made.plain == "ok: a\nb\\x1b"
    assert {str(span.style) for span in made.spans} == {"green", "dim"}


def test_a_long_text_is_cut_with_an_ellipsis(capsys):
    say("{}", "x" * 200_000)
    print_rich(cell("y" * 200_000), soft_wrap=True)
    fail("z" * 200_000, 1)
    out, err = capsys.readouterr()
    assert out.count("y") == err.count("x") == LONGEST_TEXT - 1
    assert LONGEST_TEXT <= err.count("z") < 20_000
    assert "…" in out and err.count("…") == 2


def test_what_a_console_is_given_is_no_markup_and_has_no_control_characters(capsys):
    table = Table(MARKUP, box=None)
    table.add_row(f"{MARKUP}\x1b[2J\x9b", Text("\u202e\x1b]0;t\x07"))
    print_rich(table, soft_wrap=True)
    print_rich(f"{MARKUP}\x1b[2J", soft_wrap=True)
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert shown.count("[link=http://x]y[/link] :bomb:") == 3


def test_json_has_all_of_a_text_with_control_characters_as_escapes(capsys):
    value = {"a\x9b": "\x1b[2J\x7f\u202e\ud800ü" * 1000}
    print_json(value)
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable() and "ü" in shown
    assert json.loads(shown) == value


def test_from_several_runs_only_json_objects_are_passed_on(tmp_path, write_run, capsys):
    write_run(tmp_path, "one")
    JsonLines(several=True).lines(list_runs(tmp_path)[0], [b"[1]", b"3", b"{", b'{"v": 1}'])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"run": "one", "v": 1}]


def test_event_lines_mean_the_same_and_control_nothing(tmp_path, write_run, capsys):
    write_run(tmp_path, "one")
    message = "\x9b2J \u202e \x7f ü"
    lines = [json.dumps({"m": message}, ensure_ascii=False).encode(), b'{\t"v": 1}', b"\x1b[2J\xff no JSON"]
    JsonLines().lines(list_runs(tmp_path)[0], lines)
    first, second, third = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"m": message} and json.loads(second) == {"v": 1}
    assert (first + second + third).isprintable() and third.startswith(r"\u001b[2J")


SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\].*?(?:\x07|\x1b\\)|.)", re.DOTALL)


def live_output(runs, run, width=80):
    """What a terminal gets from `rbp watch`, of one run and of several."""
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, color_system="truecolor", width=width, height=24)
    records = list_runs(runs)
    with Live(console=console, auto_refresh=False) as live:
        for view in (LivePicture(live, "hint"), LiveTable(live, "hint")):
            for _ in range(2):
                view.lines(records[0], run.events().read_bytes().splitlines())
                view.show(records)
    console.print(describe_run(run, records[0], read_run_json(run), read_alarms(run)))
    return out.getvalue()


@pytest.mark.parametrize("status", ["running", "failed", None])
def test_the_live_view_sends_a_terminal_no_escape_of_a_run(tmp_path, write_texts, hostile_text, status):
    shown = []
    for name, text in (("harmless", "ordinary words " * 12), ("hostile", hostile_text)):
        run = write_texts(tmp_path / name, "run", text, status or text)
        shown.append(live_output(tmp_path / name, run))
    harmless, hostile = ({re.sub(r"\d+(;\d+)*m", "m", one) for one in SEQUENCE.findall(text)} for text in shown)
    assert hostile <= harmless and r"\x1b]52" in shown[1]
    # Apart from the ends of lines, and from the thin space in 4 812.
    assert re.sub("[\n\r\u202f]", "", SEQUENCE.sub("", shown[1])).isprintable()


def test_of_a_log_of_gigabytes_the_end_is_printed_and_its_place_named(tmp_path, capsys):
    log = tmp_path / "stdout.log"
    with log.open("wb") as file:
        file.truncate(2**32)
        file.seek(0, 2)
        file.write(b"\nthe end\n")
    printer = _LogPrinter(log)
    printer.print_new()
    printer.end()
    shown = capsys.readouterr()
    assert shown.out.endswith("the end\n") and len(shown.out) < 40 * 2**20
    assert "4.0 GiB before this are not shown" in shown.err and str(log) in shown.err.replace("\n", "")


def test_on_a_terminal_messages_break_between_words_and_commands_stay_whole(monkeypatch, capsys):
    monkeypatch.setattr("rbp_tui.cli.output.console", lambda *, stderr: SafeConsole(force_terminal=True, width=30))
    say("  [bold]advice[/]: {}", "a run may do as well, in less time: method.timesteps=2-and-a-very-long-word")
    say_next(["rbp ls", "rbp train digits method=bptt T=2"])
    assert re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines() == [
        "  advice: a run may do as",
        "  well, in less time:",
        "  method.timesteps=2-and-a-very-long-word",
        "  next: rbp ls",
        "        rbp train digits method=bptt T=2",
    ]
