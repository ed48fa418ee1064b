import csv
import io

from rbp_tui.dashboard.export import csv_text


def test_no_text_of_an_exported_table_is_a_formula_or_a_control_sequence() -> None:
    text = csv_text(["run", "=a"], [["=cmd()", "\x1b[2J"], ["-3.5", None]])
    assert list(csv.reader(io.StringIO(text))) == [["run", "'=a"], ["'=cmd()", "\\x1b[2J"], ["-3.5", ""]]
