"""Rules that help newcomers find things: small folders, and one meaning per name."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = [path for package in ("rbp_engine", "rbp_tui") for path in (ROOT / package).rglob("*.py")]


def test_no_folder_has_more_than_18_modules():
    modules = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {folder: count for folder, count in modules.items() if count > 18} == {}


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
