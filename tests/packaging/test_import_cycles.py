"""No file imports itself through others, counting imports inside functions and for type checkers."""

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rbp_engine", "rbp_tui")


def modules(root, packages):
    """The file of each module by dotted name; a package's is its `__init__.py`."""
    files = (path for package in packages for path in (root / package).rglob("*.py"))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(module, path, known):
    """The known modules that a file imports anywhere; `from a import b` means the module a.b if it exists."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            inside = {f"{source}.{alias.name}" for alias in node.names}
            names |= {name if name in known else source for name in inside}
    return names.intersection(known)


def import_cycle(root, packages):
    """A cycle of modules, each imported by the next, with the first repeated at the end; empty if there is none."""
    known = modules(root, packages)
    try:
        TopologicalSorter({module: imports(module, path, known) for module, path in known.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_file_imports_itself_through_others():
    cycle = import_cycle(ROOT, PACKAGES)
    assert not cycle, " is imported by ".join(cycle)


IMPORTS = {
    "at the top": "from package.a import b",
    "the module itself": "import package.a.b",
    "relative": "from ..a import b",
    "in a function": "def call():\n    from package.a.b import something",
    "for a type checker": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.a.b import Something",
}


@pytest.mark.parametrize("kind", IMPORTS)
def test_a_cycle_closed_by_any_kind_of_import_is_found_and_named(kind, tmp_path):
    for name in ("a", "c"):
        (tmp_path / "package" / name).mkdir(parents=True)
        (tmp_path / "package" / name / "__init__.py").touch()
    (tmp_path / "package" / "a" / "b.py").write_text("import package.c.d\n")
    last = tmp_path / "package" / "c" / "d.py"
    last.write_text("import math\n")
    assert import_cycle(tmp_path, ["package"]) == []
    last.write_text(IMPORTS[kind] + "\n")
    cycle = import_cycle(tmp_path, ["package"])
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"package.a.b", "package.c.d"}
