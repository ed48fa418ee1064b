import csv
import io
import json
import re
from dataclasses import replace

import pytest

from rbp_engine.report import tables
from rbp_engine.report.cells import make_cells
from rbp_engine.report.collect import collect
from rbp_engine.run.store.store import run_directories


@pytest.fixture
def cells(finish_run, runs):
    """Two seeds of a cell of the paper, and a held-out run of digits."""
    for seed, last in ((1, 0.95), (2, 0.96)):
        finish_run("cifar10-resnet18", f"seed={seed}", curve=(0.97, last))
    finish_run("digits", "train.validation_split=0.1", test={"last": 0.9, "best": 0.91})
    return make_cells(collect(run_directories(runs))[0])


def test_a_row_has_the_papers_names_and_two_decimals(cells):
    shown = tables.columns(cells, costs=False)
    assert r"rate\_M" in tables.markdown(cells)
    assert [[column.word(cell) for column in shown] for cell in cells] == [
        ["CIFAR-10", "ResNet-18", "rate_M", "4", "95.50 ± 0.71", "97.00 ± 0.00†", "95.61", "−0.11", "2"],
        ["digits", "convnet", "rate_M", "4", "90.00 ± –", "91.00 ± –", "–", "–", "1"],
    ]
    assert shown[5].word(replace(cells[1], best=None)) == "–"


def test_methods_stand_beside_bptt_paired_by_seed_and_without_empty_columns_of_a_paper(finish_run, runs):
    for seed, ours, theirs in ((1, 0.90, 0.91), (2, 0.92, 0.91), (3, 0.92, 0.94)):
        finish_run("digits", f"seed={seed}", curve=(ours,))
        finish_run("digits", f"seed={seed}", "method=bptt", curve=(theirs,))
    finish_run("digits", "seed=1", "T=7", curve=(0.5,), peak=3 * 2**30)
    cells = make_cells(collect(run_directories(runs))[0])
    shown = tables.columns(cells, costs=True, settings=False)
    assert [column.head for column in shown[4:]] == ["last %", "best %", "− BPTT", "runs", "ms/step", "MiB"]
    bptt, rate, alone = ([column.word(cell) for column in shown] for cell in cells)
    assert [row[6] for row in (bptt, rate, alone)] == ["–", "−0.67 ± 3.79", "–"]
    assert rate[8:] == ["–", "1024"]
    document = tables.document(cells, [], runs)["rows"]
    assert document[1]["against_control"] == pytest.approx(-0.02 / 3)
    assert [row["against_control_interval"] for row in (document[0], document[2])] == [None, None]
    assert [row["control"] for row in document] == [None, "bptt", None] and document[1]["verdict"] is None
    assert "paired by seed" in tables.markdown(cells)


def test_latex_uses_booktabs_and_escapes_what_it_must(cells):
    lines = tables.latex(cells).splitlines()
    body = [line for line in lines if not line.startswith("%")]
    assert [line for line in body if line.endswith("rule")] == [
        "\\toprule", "\\midrule", "\\midrule", "\\bottomrule",
    ]  # fmt: skip
    row = r"CIFAR-10 & ResNet-18 & rate$_\mathrm{M}$ & 4 & 95.50 $\pm$ 0.71 & 97.00 $\pm$ 0.00$^\dagger$ & 95.61 & "
    assert row + r"$-$0.11 & 2 & -- & 1024 \\" in body
    assert all("\n".join(body).isascii() for _ in body)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("nets.py:My_Net", r"nets.py:My\_Net"),
        ("50% & {a}", r"50\% \& \{a\}"),
        ("a\\b", r"a\textbackslash{}b"),
        ("rate_S", r"rate$_\mathrm{S}$"),
        ("BPTT_S", r"BPTT$_\mathrm{S}$"),
        ("SLTT", "SLTT"),
    ],
)
def test_latex_text_is_escaped(text, escaped):
    assert tables.latex_text(text) == escaped


def test_csv_and_json_keep_fractions_csv_leaves_missing_values_empty_and_json_names_every_run(cells, runs):
    first, second = csv.DictReader(io.StringIO(tables.csv_text(cells)))
    assert [float(first[name]) for name in ("last_mean", "last_std")] == pytest.approx([0.955, 0.00707], 1e-3)
    assert (first["paper"], first["runs"], first["seeds"], first["best_chosen_on"]) == ("0.9561", "2", "1 2", "test")
    assert (second["last_std"], second["paper"], second["difference"]) == ("", "", "")
    assert second["best_chosen_on"] == "held-out"
    document = json.loads(json.dumps(tables.document(cells, [], runs)))
    first, second = document["rows"]
    assert first["last"]["count"] == 2 and first["difference"] == pytest.approx(-0.0011)
    assert len(first["ids"]) == 2 and len(first["experiment"]) == 64
    assert second["last"] == {"mean": 0.9, "std": None, "count": 1}
    assert document["left_out"] == []


def test_text_with_line_breaks_stays_on_its_line(finish_run, runs):
    finish_run("digits", "seed=1", host="evil\n\\input{x}\x1b[31m")
    finish_run("digits", "seed=2", host="here")
    text = tables.latex(make_cells(collect(run_directories(runs))[0]))
    assert "\x1b" not in text
    assert all(line.startswith("%") for line in text.splitlines() if "evil" in line or "input{x}" in line)


NAME = "=1+1|[x](http://y)<b>`$%_&#{}~^\\\x1b]52;c;aGk=\x07\x9b\u202e\n\r\ud800"


@pytest.fixture
def named(cells):
    """The same with a hostile name everywhere."""
    hostile = {"data.name": f"-{NAME}", "model.name": NAME, "method.name": f"@{NAME}"}
    return [replace(renamed(cell, hostile), label={NAME: NAME}, notes=(NAME,)) for cell in cells]


def renamed(cell, names):
    return replace(cell, runs=tuple(replace(run, settings=run.settings | names) for run in cell.runs))


def test_in_csv_no_name_is_a_formula_and_numbers_stay_numbers(named):
    for row in csv.DictReader(io.StringIO(tables.csv_text(named))):
        texts = [row[name][:2] for name in ("data", "network", "method", "settings", "notes")]
        assert texts == ["'-", "'=", "'@", "'=", "'="]
        assert float(row["last_mean"]) and float(row["difference"] or -1) < 0


def test_every_table_is_printable_and_has_its_rows_and_columns_whatever_the_names(named):
    for text in (tables.csv_text(named), tables.markdown(named), tables.latex(named)):
        assert text.replace("\n", "").isprintable()
    table = tables.markdown(named).split("\n\n")[0].splitlines()
    assert len(table) == 2 + len(named)
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} == {13}
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]`]|<", tables.markdown(named))
    body = [line for line in tables.latex(named).splitlines() if " & " in line and not line.startswith("%")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {11}


def test_a_name_of_any_length_is_cut_in_tables_and_whole_in_csv(cells):
    long = [replace(renamed(cell, {"model.name": "n" * 10_000}), notes=("m" * 10_000,)) for cell in cells]
    assert max(map(len, tables.markdown(long).splitlines())) < 4_000
    assert "…" in tables.latex(long)
    assert "n" * 10_000 in tables.csv_text(long)
