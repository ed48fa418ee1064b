"""What README and docs/bench.md say of the cost is what the documents in docs/bench say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKE_AGAIN = """
import sys
from pathlib import Path
import bench
sys.stdout.reconfigure(encoding="utf-8")
bench.figure(Path(sys.argv[2]))
print(getattr(bench, sys.argv[1])(), end="")
"""


def made(what: str, pictures: Path) -> str:
    command = [sys.executable, "-c", MAKE_AGAIN, what, str(pictures)]
    return subprocess.run(command, cwd=ROOT / "docs", capture_output=True, encoding="utf-8", check=True).stdout


def test_the_page_and_its_picture_are_those_that_make_results_makes(tmp_path):
    assert made("page", tmp_path) == (ROOT / "docs/bench.md").read_text(encoding="utf-8")
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in (ROOT / "docs/bench").glob("*.svg")}


def test_the_readme_says_the_ratios_of_the_documents(tmp_path):
    assert made("readme", tmp_path) == (ROOT / "README.md").read_text(encoding="utf-8")
