"""What docs/how-it-works.md names in the code is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "rbp_engine"
TEXT = (ROOT / "docs/how-it-works.md").read_text()
PATHS = sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", TEXT)))
NAMES = sorted(set(re.findall(r"`([A-Z][A-Za-z]+)(?:\.[a-z_]+)?`", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_the_page_names_is_there(path):
    assert any((folder / path).is_file() for folder in (ROOT, ENGINE, ENGINE / "spiking"))


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_the_page_names_is_defined_in_the_engine(name):
    files = (ENGINE / "spiking").rglob("*.py")
    assert any(re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE) for path in files)


def test_the_page_names_many_of_both():
    assert len(PATHS) > 12
    assert len(NAMES) > 12
