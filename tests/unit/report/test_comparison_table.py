"""The table of a comparison: one row for each experiment, with the settings in which they differ as columns."""

import pytest
from rich.cells import cell_len

from rbp_engine.report.compare import compare
from rbp_engine.run import track
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.text.comparison_text import comparison_plain, comparison_text
from rbp_tui.text.run_columns import setting_heading


@pytest.fixture
def found(finish_run):
    """Two seeds with each of three learning rates and T; the last has seeds of its own."""
    settings = (("lr=0.1", "T=4", (1, 2), 0.95), ("lr=0.02", "T=4", (1, 2), 0.91), ("lr=0.02", "T=6", (3, 4), 0.94))
    return compare(
        finish_run("digits", lr, timesteps, f"seed={seed}", curve=[top1 + seed / 100])
        for lr, timesteps, seeds, top1 in settings
        for seed in seeds
    )


def test_every_experiment_has_one_row_with_what_differs(found):
    shown = comparison_text(found, 100)
    assert shown.headings.plain.split()[:3] == ["T", "lr", "n"]
    rows = [text.plain.split()[:4] for text in shown.groups]
    assert rows == [["1◆", "4", "0.1", "2"], ["2", "4", "0.02", "2"], ["3", "6", "0.02", "2"]]
    assert "also differs" not in shown.whole.plain
    assert "3: its difference is unknown: it shares no seed with the baseline" in shown.whole.plain


@pytest.mark.parametrize(
    ("key", "heading"),
    [("optim.lr", "lr"), ("settings.dropout", "dropout"), ("contents of model.name", "contents of model.name")],
)
def test_a_column_of_a_setting_has_its_short_name_and_one_of_anything_else_its_own(key, heading):
    assert setting_heading(key) == heading


@pytest.mark.parametrize("width", [30, 77, 200])
def test_no_row_is_wider_than_the_space_and_what_tells_apart_stays_longest(found, width):
    shown = comparison_text(found, width)
    assert all(len(line) <= width for line in shown.whole.plain.split("\n"))
    assert {"T", "lr"} <= set(shown.headings.plain.split())


def test_decimal_points_stand_below_each_other_and_the_difference_of_one_seed_says_so(finish_run):
    seeds = [finish_run("digits", f"seed={seed}", curve=[0.9 + seed / 70]) for seed in (1, 2)]
    first, second = comparison_text(compare([*seeds, finish_run("digits", "lr=0.003", curve=[0.95])]), 120).groups
    assert first.plain.index("0.1") == second.plain.index("0.003")
    assert first.plain.index("92.14") == second.plain.index("95.00")
    assert "+3.57 (n=1)" in second.plain, "the difference of one seed has no interval"


def test_json_has_the_settings_and_the_interval(found):
    first, second, third = comparison_plain(found)["groups"]
    assert first["settings"] == {"method.timesteps": 4, "optim.lr": 0.1} and first["last_difference"] is None
    assert second["last_difference"]["mean"] == pytest.approx(-0.04)
    assert second["last_difference"]["interval"] == pytest.approx(0.0, abs=1e-9)
    # Of two values that are 0.01 apart: t (12.7) × deviation (0.01 / √2) / √2.
    assert second["last"]["interval"] == pytest.approx(12.7062 * 0.01 / 2, rel=1e-4)
    assert third["settings"] == {"method.timesteps": 6, "optim.lr": 0.02} and third["last_difference"] is None


def test_runs_that_are_all_left_out_make_no_table(finish_run):
    damaged = finish_run("digits")
    damaged.preset_toml.write_text("x")
    nothing = compare([damaged])
    assert nothing.excluded and not comparison_text(nothing, 80).whole.plain.strip()


def test_runs_of_the_same_settings_are_told_apart_by_seed_and_id(finish_run):
    runs = [finish_run("digits", f"seed={seed}", created=created) for seed, created in ((1, 1.0), (1, 2.0), (2, 3.0))]
    table = comparison_text(compare(runs, each_run=True), 100)
    assert table.headings.plain.split()[:2] == ["seed", "run"]
    assert len({row.plain for row in table.groups}) == 3


def test_a_run_of_another_program_that_names_no_method_is_a_row_like_others(finish_run, tmp_path):
    ours = [finish_run("digits", f"method={method}") for method in ("rate_m", "bptt")]
    with track({"lr": 0.3}, runs_dir=tmp_path) as run:
        run.log(test_top1=0.9)
    shown = comparison_text(compare([*ours, RunDirectory(run.folder)]), 120)
    assert len(shown.groups) == 3 and "90.00" in shown.groups[2].plain


def test_columns_stand_below_each_other_under_names_of_wide_characters(finish_run, tmp_path):
    runs = []
    for number, name in enumerate(("画像分類", "short")):
        file = tmp_path / f"{name}.toml"
        file.write_text(f'title = "x"\nextends = "digits"\n[optim]\nlr = 0.{number + 1}\n')
        runs.append(finish_run(str(file)))
    shown = comparison_text(compare(runs), 80)
    lines = [shown.headings, *shown.groups]
    assert len({line.cell_len for line in lines}) == 1 and lines[0].cell_len <= 80
    assert len({cell_len(line.plain.partition(".")[0]) for line in shown.groups}) == 1


def test_with_a_margin_each_difference_has_a_verdict(finish_run):
    top1 = {"lr=0.1": (0.95, 0.96, 0.97), "lr=0.02": (0.951, 0.96, 0.969), "lr=0.5": (0.85, 0.861, 0.87)}
    runs = [
        finish_run("digits", lr, f"seed={seed}", curve=[value])
        for lr, values in top1.items()
        for seed, value in enumerate(values, start=1)
    ]
    judged = compare(runs, margin=0.01)
    assert [group["verdict"] for group in comparison_plain(judged)["groups"]] == [None, "equivalent", "different"]
    shown = comparison_text(judged, 100).whole.plain
    assert "verdict" in shown.split("\n")[0] and "two one-sided t tests" in shown
    assert "verdict" not in comparison_text(compare(runs), 100).whole.plain
