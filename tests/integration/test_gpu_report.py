"""`make gpu` without a GPU, and with parts that fail."""

import importlib
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """benchmarks/gpu_report.py, which finds its neighbours because Python puts a script's folder on its path."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_report")


@pytest.mark.skipif(torch.cuda.is_available(), reason="make gpu itself does it here")
def test_without_a_card_the_page_says_what_was_skipped_and_why(script, tmp_path):
    page, parts = tmp_path / "page.md", []

    def say(line):
        parts.append((line.partition(":")[0], page.read_text()))

    assert script.main(["-o", str(page)], say) == 0
    assert [title for title, _ in parts] == ["Machine", "Tests", "Measurements"]
    assert all(f"## {title}\n" in so_far for title, so_far in parts), "it is written after each part"
    text = page.read_text()
    assert "0 passed, 0 failed" in text and "  - `test_gradients_are_those_of_a_cpu`" in text
    assert text.count("rbp doctor looks further") == 3, "why there is none: for the machine, the tests, the steps"
    for _, title, _ in script.MEASURED:
        assert f"- {title}\n" in text


def test_a_part_that_fails_leaves_its_reason_and_one_without_time_says_so(script, monkeypatch, tmp_path):
    def fails(report, title, patience_s):
        raise OSError("no such kernel\nand more")

    def works(report, title, patience_s):
        return script.Part(title, ["here"])

    monkeypatch.setattr(script, "tests", lambda device, patience_s: script.Part(script.TESTS, ["ran"]))
    monkeypatch.setattr(script, "MEASURED", ((fails, "One", 1.0), (works, "Two", 1.0)))
    page = tmp_path / "page.md"
    assert script.main(["--device", "cpu", "-o", str(page)], lambda line: None) == 1
    text = page.read_text()
    assert "## One\n\nNot measured: OSError: no such kernel\n" in text and "## Two\n\nhere\n" in text
    monkeypatch.setattr(script, "LIMIT_S", 0.0)
    assert script.main(["--device", "cpu", "-o", str(page)], lambda line: None) == 0
    assert page.read_text().count("Left out: there was no time") == 2
