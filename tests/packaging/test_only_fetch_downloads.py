"""Nothing downloads but `rbp data fetch`: no other file has a client of HTTP, or asks a library to download."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DOWNLOADS = re.compile(
    r"^ *(import|from) (urllib|http|ftplib|requests|httpx)\b|\btorch\.hub\b|from torch import hub"
    r"|\b(download|pretrained)=True",
    re.MULTILINE,
)


def test_only_the_fetch_of_a_data_set_downloads():
    files = [path for package in ("rbp_engine", "rbp_tui") for path in (CHECKOUT / package).rglob("*.py")]
    found = {path for path in files if DOWNLOADS.search(ast.unparse(ast.parse(path.read_text())))}  # no comments
    assert found == {CHECKOUT / "rbp_engine/data/fetch.py"}
