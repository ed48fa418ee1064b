import csv
import io
from pathlib import Path

import pytest

from rbp_engine.errors import UserError
from rbp_tui.dashboard.export import Export, csv_text, write

DESCRIPTION = '{"title": "loss", "x": "step", "x_log": false, "y_log": true, "series": []}'


def test_no_text_of_an_exported_table_is_a_formula_or_a_control_sequence() -> None:
    text = csv_text(["run", "=a"], [["=cmd()", "\x1b[2J"], ["-3.5", None]])
    assert list(csv.reader(io.StringIO(text))) == [["run", "'=a"], ["'=cmd()", "\\x1b[2J"], ["-3.5", ""]]


def test_a_plot_that_fails_leaves_the_other_files_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"CSV and JSON are in .*; the plot failed: .*JSON"):
        write(Export("loss", {"chart.csv": "a\n"}, plot="not JSON"), "monitor", tmp_path)
    (file,) = tmp_path.glob("rbp-export/monitor-loss-at-*/*")
    assert file.name == "chart.csv"


def test_a_chart_without_curves_is_drawn_too(tmp_path: Path) -> None:
    place, names = write(Export("loss", {}, plot=DESCRIPTION), "monitor", tmp_path, now=0.0)
    assert names == ["chart.pdf"] and (place / "chart.pdf").read_bytes().startswith(b"%PDF")
