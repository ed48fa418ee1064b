"""The site has a reference of every setting, command and function, and its pages lead to each other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import rbp_engine
import rbp_engine.run
from rbp_engine.preset.fields import fields
from rbp_engine.preset.sweep.check import sweep_fields
from tests.commands import COMMANDS
from tests.packaging.test_links_of_docs import dead_links

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder with the pages that `make docs` builds the site of."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, ROOT / "docs/reference.py", folder], check=True)
    return folder


def headings(page):
    return set(re.findall(r"^##+ `?(.*?)`?$", page.read_text("utf-8"), re.MULTILINE))


def test_every_setting_has_a_heading_and_its_sentence(site):
    infos = [*fields(), *sweep_fields()]
    text = re.sub(r"\\(.)", r"\1", (site / "settings.md").read_text("utf-8")).replace("&lt;", "<")
    assert {info.key for info in infos} <= headings(site / "settings.md")
    assert [info.key for info in infos if info.text not in text] == []


def test_every_command_has_a_heading_and_all_its_options(site):
    text = (site / "commands.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (rbp.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for words, command in COMMANDS.items():
        if not getattr(command, "hidden", False):
            shown = [one for one in command.params if not getattr(one, "hidden", False)]
            section = sections[" ".join(["rbp", *words])]
            absent = [one.opts[0] for one in shown if one.param_type_name == "option" and one.opts[0] not in section]
            assert absent == []


def test_every_function_that_pages_import_has_a_heading(site):
    library = (ROOT / "docs/library.md").read_text("utf-8")
    imported = re.findall(r"^from (rbp_engine\S*) import (\w+)$", library, re.MULTILINE)
    entries = {f"rbp_engine.{name}" for name in rbp_engine.__all__} | {
        f"rbp_engine.run.{name}" for name in rbp_engine.run.__all__
    }
    assert len(imported) > 5
    assert entries | {".".join(one) for one in imported} <= headings(site / "functions.md")


def test_the_links_between_pages_hold_in_the_site_too(site):
    pages = list(site.rglob("*.md"))
    assert [link for page in pages for link in dead_links(page)] == []


def test_the_navigation_has_every_page_once(site):
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    assert sorted(named) == sorted(str(page.relative_to(site)) for page in site.rglob("*.md"))
