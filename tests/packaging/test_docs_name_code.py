"""Files and classes that docs/how-it-works.md names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "rbp_engine"
TEXT = (ROOT / "docs/how-it-works.md").read_text()
PATHS = sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", TEXT)))
NAMES = sorted(set(re.findall(r"`([A-Z][A-Za-z]+)(?:\.[a-z_]+)?`", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_each_file_named_on_the_page_exists(path):
    assert any((folder / path).is_file() for folder in (ROOT, ENGINE, ENGINE / "spiking"))


@pytest.mark.parametrize("name", NAMES)
def test_each_class_named_on_the_page_is_defined_in_the_engine(name):
    files = (ENGINE / "spiking").rglob("*.py")
    assert any(re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE) for path in files)


def test_the_page_names_many_files_and_classes():
    assert len(PATHS) > 12
    assert len(NAMES) > 12
