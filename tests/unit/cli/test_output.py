"""Text from other people, on its way to a terminal or into JSON."""

import json

import pytest
from rich.text import Text

from rbp_engine.run.store.store import list_runs
from rbp_tui.cli.output import plain
from rbp_tui.cli.train.views import SeveralJson


@pytest.mark.parametrize(
    ("text", "shown"), [("[/b] [red]x[/]", "[/b] [red]x[/]"), ("a\x1b[2Jb\x07", "a [2Jb "), ("a\nb\r", "a b ")]
)
def test_markup_and_control_characters_in_foreign_text_have_no_effect(text, shown):
    assert Text.from_markup(plain(text)).plain == shown


def test_line_breaks_are_kept_on_request():
    assert Text.from_markup(plain("a\n[b]\x1b\n", lines=True)).plain == "a\n[b] \n"


def test_from_several_runs_only_json_objects_are_passed_on(tmp_path, write_run, capsys):
    write_run(tmp_path, "one")
    SeveralJson().lines(list_runs(tmp_path)[0], [b"[1]", b"3", b"{", b'{"v": 1}'])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"run": "one", "v": 1}]
