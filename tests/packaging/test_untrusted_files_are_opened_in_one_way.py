"""Files that somebody else may have made are opened by `rbp_engine/untrusted_files.py` and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import rbp_engine

ENGINE = Path(rbp_engine.__file__).parent
#: What is held to it so far.
PLACES = ("settings", "preset", "errors.py", "health.py", "untrusted_files.py", "user_code.py", "vocabulary.py")
OPENING = {"open", "fdopen", "read_text", "read_bytes", "read_lines"}
#: The functions that may open a file by other means, and why.
ALLOWED = {
    ("untrusted_files.py", "open_untrusted"): "the one way",
    ("settings/files.py", "write_settings"): "writes a file that it has just made",
    ("preset/author.py", "create_preset"): "writes a file that was not there",
    ("preset/author.py", "copy_preset"): "writes a file that was not there",
}


def opened_in(source: str) -> Iterator[tuple[str, int]]:
    """The function and line of each call that opens a file: `open(…)`, `os.open(…)`, `path.read_text(…)`."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
            if isinstance(child, ast.Call):
                called = child.func
                bare = isinstance(called, ast.Name) and called.id == "open"
                if bare or (isinstance(called, ast.Attribute) and called.attr in OPENING):
                    yield function, child.lineno
            yield from walk(child, inside)

    return walk(ast.parse(source), "")


def test_no_file_is_opened_by_other_means() -> None:
    found: dict[tuple[str, str], int] = {}
    for place in PLACES:
        top = ENGINE / place
        files = [top] if top.is_file() else sorted(top.rglob("*.py"))
        assert files, place
        for path in files:
            name = path.relative_to(ENGINE).as_posix()
            found |= {(name, function): line for function, line in opened_in(path.read_text(encoding="utf-8"))}
    others = [
        f"{name}:{line} in {function}" for (name, function), line in found.items() if (name, function) not in ALLOWED
    ]
    assert not others, f"use rbp_engine/untrusted_files.py, or say here why not: {', '.join(others)}"
    assert found.keys() == ALLOWED.keys(), "the list allows what nobody does"


def test_each_way_to_open_a_file_is_seen() -> None:
    for call in (
        "open(p)",
        "p.open()",
        "os.open(p, 0)",
        "io.open(p)",
        "p.read_text()",
        "Path(p).read_bytes()",
        "f(open(p))",
    ):
        assert list(opened_in(f"def f():\n    return {call}\n")) == [("f", 2)], call
    assert not list(opened_in("from documents import read_text\nread_text(p)\nread_untrusted(p, 1)\n"))
