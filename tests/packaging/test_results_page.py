"""docs/results.md says what docs/results keeps."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
MAKE_AGAIN = """
import sys
from pathlib import Path
import results
sys.stdout.reconfigure(encoding="utf-8")
print(results.page(Path(sys.argv[1])), end="")
"""


def test_the_page_and_the_names_of_its_pictures_are_those_that_make_results_makes(tmp_path):
    made = subprocess.run(
        [sys.executable, "-c", MAKE_AGAIN, str(tmp_path)], cwd=DOCS, capture_output=True, encoding="utf-8", check=True
    )

    assert made.stdout == (DOCS / "results.md").read_text(encoding="utf-8")
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in (DOCS / "results").glob("*.svg")}
