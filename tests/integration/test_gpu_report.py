"""`make gpu` without a GPU."""

import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_report.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="make gpu itself does it here")
def test_without_a_card_the_page_says_what_was_skipped_and_why(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("gpu_report", SCRIPT)
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    page, parts = tmp_path / "page.md", []

    def say(line: str) -> None:
        parts.append((line.partition(":")[0], page.read_text()))

    assert script.main(["-o", str(page)], say) == 0
    assert [title for title, _ in parts] == ["Machine", "Tests", "Training steps"]
    assert all(f"## {title}\n" in so_far for title, so_far in parts), "it is written after each part"
    text = page.read_text()
    assert "0 passed, 0 failed" in text and "  - `test_gradients_are_those_of_a_cpu`" in text
    assert text.count("rbp doctor looks further") == 3, "why there is none: for the machine, the tests, the steps"
