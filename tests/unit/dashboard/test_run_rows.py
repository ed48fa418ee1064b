"""The rows of the table of runs: which ones, in what order, with which columns."""

import time
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rbp_engine.preset import load_preset
from rbp_engine.run.files.annotations import set_note
from rbp_engine.run.files.events import Scores
from rbp_engine.run.files.layout import write_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.store import list_runs
from rbp_tui.dashboard.reading.sparklines import Trend
from rbp_tui.dashboard.runs.columns import AFTER_SETTINGS, BEFORE_SETTINGS, BY_NAME, COLUMNS, fitting, with_settings
from rbp_tui.dashboard.runs.rows import RowMaker, TableView
from rbp_tui.text.run_columns import GAP, PlacedColumn, fitted_row
from tests.run_files import write_attempt


@pytest.fixture(scope="module")
def records(tmp_path_factory, write_run):
    """Two experiments of two runs each, and the unreadable run `odd`."""
    runs = tmp_path_factory.mktemp("runs")
    for number, (run_id, method, top1) in enumerate(
        [("a-0001", "bptt", 0.7), ("a-0002", "rate_m", 0.9), ("b-0003", "bptt", 0.8), ("b-0004", "rate_m", None)]
    ):
        run = write_run(
            runs, run_id, method=method, experiment=method, best=Scores(top1=top1, epoch=3), last=Scores(top1=top1),
            created=1.7e9 + number, seed=number, tags=["paper"] if number == 0 else [],
        )  # fmt: skip
    set_note(run, "first line\nsecond \x1b[2J line")
    write_run(runs, "odd").run_json.write_text("{")
    return list_runs(runs)


def rows(records, marked=(), trends=None, columns=(), **view):
    """The rows; of `columns`, if some are named, these cells only."""
    made = RowMaker().rows(
        records, TableView(**({"width": 200} if columns else {}) | view), dict.fromkeys(marked, "●"), trends or {}
    )
    places = [number for number, place in enumerate(made.placed, 2) if not columns or place.column.name in columns]
    return replace(made, cells={key: tuple(cells[at] for at in (0, 1, *places)) for key, cells in made.cells.items()})


def texts(made, key):
    return ["".join(cell.text for cell in made.cells[key][:2]), *(cell.text.strip() for cell in made.cells[key][2:])]


def test_runs_and_experiments_are_named_by_what_was_trained(tmp_path, write_run):
    for seed in (1, 2):
        write_run(tmp_path, f"a-000{seed}", label="digits · nets.py:Net", seed=seed)
    made = rows(list_runs(tmp_path), width=80, grouped=True)
    assert "digits · nets.py:Net" in texts(made, "experiment:e")
    assert texts(made, "a-0001")[1].startswith("digits") and texts(made, "a-0001")[1].endswith("nets.py:Net")


def test_what_trains_comes_before_what_waits_and_has_ended_unless_another_order_is_asked_for(records):
    now = [replace(records[0], verdict=Verdict("running", "")), replace(records[1], verdict=Verdict("queued", ""))]
    made = [*now, *records[2:]]
    assert list(rows(made).cells) == ["a-0001", "odd", "b-0004", "b-0003", "a-0002"]
    assert next(iter(rows(made, sort="created").cells)) == "a-0001"
    assert next(iter(rows(made, sort="best").cells)) == "a-0002"
    assert len(rows(made, sort="-mood").cells) == 5  # an order that a later version has saved


@pytest.mark.parametrize(("sort", "first"), [("best", "a-0002"), ("-best", "a-0001")])
def test_unknown_values_come_last_in_either_order(records, sort, first):
    order = list(rows(records, sort=sort).cells)
    assert order[0] == first and set(order[-2:]) == {"b-0004", "odd"}


def test_a_query_filters_and_a_wrong_one_keeps_the_previous_rows(records):
    maker = RowMaker()
    right = maker.rows(records, TableView(query="method:rate"), {}, {})
    wrong = maker.rows(records, TableView(query="method:rate acc>much"), {}, {})
    assert list(right.cells) == list(wrong.cells) == ["b-0004", "a-0002"]
    assert right.problem == "" and "expected a number" in wrong.problem


def test_marks_signs_and_unknown_values_show(records):
    made = rows(records, marked=["b-0004"], columns=("run", "best %", "status"))
    assert texts(made, "b-0004") == ["●■", "digits", "completed", "–@3"]
    assert texts(made, "odd") == [" ⊘", "odd", "unreadable", ""]


def test_runs_of_an_experiment_are_listed_below_its_mean(records):
    made = rows(records, grouped=True, sort="best", columns=("run", "method", "seed", "best %"))
    assert list(made.cells) == [
        "experiment:rate_m", "a-0002", "b-0004", "experiment:bptt", "b-0003", "a-0001", "odd",
    ]  # fmt: skip
    assert made.groups["experiment:bptt"] == ("b-0003", "a-0001")
    assert texts(made, "experiment:bptt") == [" ▾", "digits", "BPTT", "×2", "75.0±7.1"]


def test_a_seed_with_two_runs_counts_once_as_in_a_report(tmp_path, write_run):
    for number, (run_id, seed, top1, status) in enumerate(
        [("a", 1, 0.1, "completed"), ("b", 1, 0.7, "completed"), ("c", 2, 0.8, "completed"), ("d", 2, 0.2, "failed")]
    ):
        scores = {"best": Scores(top1=top1), "last": Scores(top1=top1)}
        write_run(tmp_path, run_id, seed=seed, created=1.7e9 + number, status=status, **scores)
    made = rows(list_runs(tmp_path), grouped=True, columns=("run", "seed", "last %", "best %"))
    assert list(made.cells) == ["experiment:e", "d", "c", "b", "a"]
    assert texts(made, "experiment:e") == [" ▾", "digits", "×2/4", "75.0", "75.0±7.1"]
    write_run(tmp_path, "e", seed=3, status="killed", best=Scores(top1=0.3), last=Scores(top1=0.3))
    made = rows(list_runs(tmp_path), grouped=True, columns=("seed", "best %"))
    assert texts(made, "experiment:e")[1:] == ["×2/5", "75.0±7.1"]


def test_runs_of_several_processes_are_a_group_of_their_own(tmp_path, write_run):
    for number, (seed, processes) in enumerate([(1, 1), (2, 1), (1, 2), (2, 2)]):
        run = write_run(tmp_path, f"a-{number}", seed=seed, last=Scores(top1=0.8 + 0.1 * processes))
        write_attempt(run, resources={"processes": processes})
    made = rows(list_runs(tmp_path), grouped=True, columns=("run", "seed", "last %"))
    assert texts(made, "experiment:e") == [" ▾", "digits", "×2", "90.0"]
    assert texts(made, "experiment:e · 2 processes") == [" ▾", "digits · 2 processes", "×2", "100.0"]


def test_of_seeds_that_train_those_count_that_have_been_evaluated(tmp_path, write_run):
    for seed, top1 in ((1, 0.7), (2, 0.8), (3, None)):
        scores = {"best": Scores(top1=top1), "last": Scores(top1=top1)}
        write_run(tmp_path, str(seed), seed=seed, status="running", updated=time.time(), **scores)
    made = rows(list_runs(tmp_path), grouped=True, columns=("seed", "best %"))
    assert texts(made, "experiment:e")[1:] == ["×2/3", "75.0±7.1"]


def test_only_changed_rows_are_made_again(records):
    maker = RowMaker()
    view = TableView(width=120)
    before = maker.rows(records, view, {}, {}).cells
    trends = {"a-0002": Trend("top1", (10.0, 20.0), (0.1, 0.2))}
    after = maker.rows(records, view, {"a-0001": "●"}, trends).cells
    assert [key for key in before if after[key] is not before[key]] == ["a-0002", "a-0001"]
    assert "▁▁▁▁▁▁▇▇▇▇▇▇" in texts(maker.rows(records, view, {}, trends), "a-0002")


def test_every_column_is_sorted_by_a_query_field_but_the_curve_and_the_id_of_which_only_a_part_is_shown():
    for column in COLUMNS:
        if column.name not in ("curve", "id"):
            find_field(column.sort.removeprefix("-"))
    assert {*BEFORE_SETTINGS, *AFTER_SETTINGS} <= set(BY_NAME)


SETTINGS = ["optim.lr", "data.batch_size", "optim.momentum", "optim.name", "neuron.surrogate_args.alpha"]
WIDTHS = {column.name: st.integers(0, 80) for column in with_settings(SETTINGS) if column.least is not None}


@given(st.fixed_dictionaries(WIDTHS), st.integers(0, 300))
def test_columns_fit_the_width_and_a_wider_screen_shows_at_least_as_many(longest, width):
    placed = fitting(SETTINGS[:3], SETTINGS[3:], longest, width)
    assert sum(one.width + GAP for one in placed) <= width
    order = [column.name for column in with_settings(SETTINGS)]
    assert [one.column.name for one in placed] == [name for name in order if name in {p.column.name for p in placed}]
    assert len(fitting(SETTINGS[:3], SETTINGS[3:], longest, width + 20)) >= len(placed)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three learning rates of digits, one of them twice and one failed, and a run of other data."""
    runs = tmp_path_factory.mktemp("sweep")
    for number, (preset, *words) in enumerate(
        [("digits", "lr=0.01"), ("digits", "lr=0.05"), ("digits", "lr=0.05", "seed=2"), ("digits", "lr=0.3"),
         ("mnist5k", "batch=128")]
    ):  # fmt: skip
        run = launch.create(load_preset(preset, words), runs, run_id=f"run-{number}")
        failed = {"status": "failed", "reason": "the loss is not finite at step 7"}
        status = failed if number == 3 else {"status": "completed"}
        write_json(run.summary_json, asdict(read_summary(run)) | status | {"created": 1.7e9 + number})
    return list_runs(runs)


@pytest.mark.parametrize("width", [77, 117, 197])
def test_the_settings_in_which_runs_on_the_same_data_differ_are_columns(sweep, width):
    made = rows(sweep, width=width)
    names = [one.column.name for one in made.placed]
    assert "optim.lr" in names and not {"data.batch_size", "optim.momentum", "run.seed"} & set(names)
    at = names.index("optim.lr") + 1
    assert [texts(made, f"run-{number}")[at] for number in range(5)] == ["0.01", "0.05", "0.05", "0.3", "0.1"]
    assert "optim.lr" not in [one.column.name for one in rows(sweep, query="lr=0.05", width=width).placed]


def test_settings_in_which_only_runs_of_different_labels_differ_come_after_the_loss(tmp_path, sweep):
    preset = tmp_path / "mine.toml"
    preset.write_text('extends = "digits"\ntitle = "mine"\noptim.momentum = 0.5\n')
    made = launch.create(load_preset(str(preset)), tmp_path / "runs", run_id="mine")
    records = [*sweep, *list_runs(made.path.parent)]
    wide, narrow = ([one.column.name for one in rows(records, width=width).placed] for width in (240, 100))
    assert {"optim.lr", "optim.momentum", "loss"} <= set(wide)
    assert "optim.lr" in narrow and "optim.momentum" not in narrow


@pytest.mark.parametrize("width", [77, 117, 197])
def test_a_reason_begins_where_its_run_has_no_values(sweep, width):
    line = "".join(cell.text for cell in rows(sweep, width=width).cells["run-3"])
    assert "the loss is not finite" in line and len(line) <= width + 2


def test_a_group_of_one_has_no_title_and_the_runs_of_others_are_indented(sweep):
    made = rows(sweep, grouped=True, width=117)
    (title,) = made.groups
    assert set(made.groups[title]) == {"run-1", "run-2"} and "0.05" in texts(made, title)
    cells = {key: cells[2].text for key, cells in made.cells.items()}
    assert cells["run-1"].startswith("   digits") and cells["run-0"].startswith(" digits")


def test_a_text_too_long_for_its_column_is_cut(tmp_path, write_run):
    write_run(tmp_path, "run", name="长" * 40)
    made = rows(list_runs(tmp_path), columns=("run",))
    ((_, _, cell),) = made.cells.values()
    assert cell.text.startswith(" 长长") and "…长" in cell.text and cell_len(cell.text) <= 27


@given(st.lists(st.tuples(st.text("ab 长–", max_size=30), st.integers(2, 20), st.booleans()), min_size=1, max_size=6))
def test_every_text_is_as_wide_as_its_column_wherever_it_begins(columns):
    placed = [
        PlacedColumn(replace(BY_NAME["reason"], flowing=flowing, named=not flowing), width)
        for _, width, flowing in columns
    ]
    row = fitted_row([text for text, _, _ in columns], placed)
    assert [cell_len(text) for text in row] == [GAP + one.width for one in placed]
