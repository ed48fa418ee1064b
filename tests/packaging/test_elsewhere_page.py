"""docs/networks-from-elsewhere.md, made by a script that tries them all, still has the networks of that script."""

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS = ["none", "one", "two", "three", "four"]


def test_the_page_has_the_networks_of_its_script_and_it_and_the_readme_count_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tried = importlib.import_module("networks_from_elsewhere").NETWORKS
    page = (ROOT / "docs/networks-from-elsewhere.md").read_text(encoding="utf-8")
    failed = re.findall(r"^\* `(\w+):([^`]+)`, ([\w, ]+): ", page, re.MULTILINE)
    named = [(library, name) for library, name, _ in failed]
    for library, names in re.findall(r"\*\*(\w+)\*\*: ([^*]+)", " ".join(page.partition("## What works")[2].split())):
        named += [(library, name) for name in re.findall("`([^`]+)`", names)]
    assert sorted(named) == sorted((one.library, one.name) for one in tried)
    for library in {one.library for one in tried}:
        count = sum(one.library == library for one in tried)
        by = [count - sum(row[0] == library and method in row[2] for row in failed) for method in ("rate_m", "bptt")]
        assert f"\n| {library} | {by[0]} of {count} | {by[1]} of {count} |\n" in page
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"of {len(tried)} that were tried [all but {WORDS[len(failed)]}](docs/networks-from-else" in readme
