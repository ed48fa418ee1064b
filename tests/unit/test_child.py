"""Questions to child processes: what counts as an answer, and what becomes of those that give none."""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.child import Child, ChildError, answer, ask, explain
from rbp_engine.errors import DataError
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.untrusted_files import JSON_LIMIT
from rbp_engine.user_code import load_own

CHILD = "from rbp_engine.child import answer, answer_each\nfrom pathlib import Path\nimport os, sys, time\n"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", CHILD + code]


def asked(code: str, **settings: Any) -> dict[str, Any]:
    return ask(python(code), os.environ, **settings)


def test_the_answer_is_what_the_computation_returns_and_progress_comes_before():
    told: list[tuple[str, float]] = []
    code = "answer(lambda say: say('adding', 0.5) or {'sum': 3}, Path('/nowhere'))"
    assert asked(code, on_progress=lambda doing, share: told.append((doing, share))) == {"sum": 3}
    assert told == [("adding", 0.5)]


def test_nothing_else_that_is_printed_is_taken_for_an_answer():
    code = (
        "os.write(1, b'from a library in C\\n[1, 2]\\n' + b'[' * 999 + b'\\n')\n"
        "answer(lambda say: print({}) or {'sum': 3}, Path('/nowhere'))\nos.write(1, b'3\\n')"
    )
    assert asked(code) == {"sum": 3}


def test_a_child_answers_each_line_in_turn():
    code = "answer_each(lambda _: ({'length': len(line)} for line in sys.stdin), Path('/nowhere'))"
    with closing(Child(python(code), os.environ)) as child:
        for line in ("a", "", "abc"):
            child.send(line)
            assert child.answer() == {"length": len(line) + 1}


def test_an_asking_process_that_is_gone_ends_a_child_in_silence(capfd):
    def gone() -> dict[str, Any]:
        raise BrokenPipeError

    assert answer(lambda _: gone(), Path("/nowhere")) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("answer(lambda _: open('/nowhere/at/all'), Path('/nowhere'))", "No such file or directory: '/nowhere/at/all'"),
        ("answer(lambda _: sys.exit('no card'), Path('/nowhere'))", "SystemExit: no card"),
        ("sys.exit('no torch')", "the sum ended with exit code 1: no torch"),
        ("", "the sum ended with exit code 0: it said nothing"),
        ("os.kill(os.getpid(), 9)", "the sum was killed, probably because the memory was full"),
        ("sys.stderr.write('x' * 10**6 + '\\nlast\\n')\nsys.exit(3)", "exit code 3: last$"),
        (f"sys.stdout.write('x' * {JSON_LIMIT + 2**17})\ntime.sleep(600)", "a line of more than"),
    ],
)
def test_a_child_without_an_answer_is_an_error_that_says_why(code, says, capfd):
    with pytest.raises(ChildError, match=says):
        asked(code, what="the sum", quiet=True)
    assert capfd.readouterr() == ("", "")


def test_what_an_unanswering_child_has_said_stands_above_if_it_was_not_to_be_quiet(capfd):
    with pytest.raises(ChildError, match="exit code 1: what it said stands above"):
        asked("sys.exit('no torch')")
    assert capfd.readouterr().err == "no torch\n"


def test_a_child_that_is_cancelled_is_killed():
    child = Child(python("time.sleep(600)"), os.environ, cancelled=lambda: True)
    with closing(child), pytest.raises(ChildError, match="the measurement was given up"):
        child.answer()
    assert child.process.returncode == -9


def raised_in(path: Path, source: str) -> BaseException:
    (path / "nets.py").write_text(source)
    try:
        load_own("nets.py:act", path)()
    except Exception as error:
        return error
    raise AssertionError


def test_an_error_in_the_users_code_is_named_with_its_line(tmp_path):
    error = raised_in(tmp_path, "def act():\n    raise KeyError('decay')\n")
    assert explain(error, tmp_path) == "nets.py line 2: KeyError: 'decay'"


def test_an_operation_without_a_rule_says_itself_where_it_stands(tmp_path):
    source = "from rbp_engine.spiking.errors import UnsupportedOperation as U\ndef act():\n    raise U('cummax')\n"
    error = raised_in(tmp_path, source)
    assert isinstance(error, UnsupportedOperation)
    assert explain(error, tmp_path) == str(error)


def test_only_a_bug_of_ours_has_a_traceback(capfd):
    for error in (DataError("x.png is damaged"), ValueError("T = 0")):
        assert explain(error, Path("/nowhere")) == str(error)
    assert capfd.readouterr().err == ""
    assert explain(IndexError("7"), Path("/nowhere")) == "IndexError: 7"
    assert "IndexError: 7" in capfd.readouterr().err
