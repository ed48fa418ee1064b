"""Commands print through `cli/output.py` alone, and markup stands in literals alone: no foreign text can be in it.

Strings that widgets of Textual show are markup too, unless they are told otherwise.
"""

import ast
from pathlib import Path

import pytest

import rbp_tui

FOLDER = Path(rbp_tui.__file__).parent
OUTPUT = {FOLDER / "cli" / "output.py", FOLDER / "cli" / "safe_console.py", FOLDER / "text" / "styled.py"}
FILES = sorted(set(FOLDER.rglob("*.py")) - OUTPUT)
TEMPLATES = {"say", "print_styled", "styled"}
WIDGETS = {"Static", "Label", "Checkbox", "self.notify", "self.app.notify", "app.notify"}
NO_MARKUP = {"Text", "Content", "Content.from_markup", "Text.assemble", r"Text('\n').join"}
# The version and the help, which are our own text.
ECHOES = {"rbp {installed('rbp-tui')}", "context.get_help()"}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def may_be_markup(call):
    """Whether a widget would take a text that is no literal for markup."""
    if not call.args or is_literal(call.args[0]):
        return False
    if any(word.arg == "markup" and ast.unparse(word.value) == "False" for word in call.keywords):
        return False
    given = call.args[0]
    made = ast.unparse(given.func) if isinstance(given, ast.Call) else ""
    return made not in NO_MARKUP or (made == "Content.from_markup" and not is_literal(given.args[0]))


def is_literal(node):
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_markup_is_a_literal_and_only_one_module_writes(path):
    found = []
    for call, name in calls(path):
        place = f"{path.name}:{call.lineno}"
        if name in TEMPLATES and not is_literal(call.args[0]):
            found.append(f"{place}: the template of {name} is no literal")
        if name in WIDGETS and may_be_markup(call):
            found.append(f"{place}: what {name} shows may be markup")
        if name.endswith(("Text.from_markup", "markup.render")):
            found.append(f"{place}: {name}, where styled() belongs")
        if name in ("typer.echo", "click.echo") and ast.unparse(call.args[0]).strip('f"') not in ECHOES:
            found.append(f"{place}: {name}, where print_line() belongs")
        if name == "print" or (".write" in name and name.startswith(("sys.stdout", "sys.stderr"))):
            found.append(f"{place}: {name}, where print_line() belongs")
        if name in ("Console", "rich.print"):
            found.append(f"{place}: {name}, where console() belongs")
    assert not found


def test_the_search_finds_what_it_forbids(tmp_path):
    path = tmp_path / "bad.py"
    for line in (
        'say(f"[dim]{name}[/]")', 'styled(a + b)', "say(text)", 'sys.stdout.write(text)', "sys.stdout.buffer.write(b)",
        "Text.from_markup(x)", "typer.echo(name)", "print(1)", "Console()",
        "Static(name)", 'Label(f"[b]{name}[/b]")', "self.notify(str(error))", "Static(Content.from_markup(name))",
    ):  # fmt: skip
        path.write_text(line)
        with pytest.raises(AssertionError):
            test_markup_is_a_literal_and_only_one_module_writes(path)
