"""Every link of README, CONTRIBUTING, CHANGELOG and docs to a file or a heading leads somewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def anchors(page):
    """The headings of a page as GitHub makes anchors of them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-") for one in headings}


def dead_links(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not link.startswith("http") and not (target.exists() and (not anchor or anchor in anchors(target))):
            dead.append(f"{page.name}: {link}")
    return dead


def test_every_link_leads_to_a_file_and_a_heading():
    assert [link for page in PAGES for link in dead_links(page)] == []


def test_the_index_names_every_page():
    named = set(re.findall(r"[\w-]+\.md", (ROOT / "docs/index.md").read_text()))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= named | {"index.md"}


def test_the_page_on_tests_names_files_that_are_there():
    named = set(re.findall(r"`([\w/]+(?:/|\.py))`", (ROOT / "tests/README.md").read_text()))
    absent = [name for name in sorted(named) if not ((ROOT / name).exists() or (ROOT / "tests" / name).exists())]
    assert len(named) > 50 and absent == []
