import csv
import io
from pathlib import Path

import pytest

from rbp_engine.report.cells import Cell, make_cells
from rbp_engine.report.collect import collect, label_words
from rbp_engine.report.compare import compare
from rbp_engine.report.figure import draw
from rbp_engine.report.tables import csv_text, latex, markdown, notes
from rbp_engine.run import track
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.store.store import run_directories
from tests.run_files import change_identity


def cells_of(runs: Path) -> list[Cell]:
    return make_cells(collect(run_directories(runs))[0])


def test_the_seeds_of_an_experiment_are_one_row(finish_run, runs):
    for seed, last in ((3, 0.9), (1, 0.94), (2, 0.92)):
        finish_run("digits", f"seed={seed}", f"run.name=n{seed}", f"train.log_every={seed}", curve=(0.96, last))
    (cell,) = cells_of(runs)
    assert [entry.summary.seed for entry in cell.runs] == [1, 2, 3]
    assert (cell.last.mean, cell.last.std) == (pytest.approx(0.92), pytest.approx(0.02))
    assert (cell.best.mean, cell.best.std) == (pytest.approx(0.96), 0.0)
    assert (cell.label, cell.paper, cell.difference) == ({}, None, None)
    assert cell.notes == ("train.log_every differs: 1 (seed 1); 2 (seed 2); 3 (seed 3)",)


def test_runs_of_several_processes_are_a_row_of_their_own_beside_bptts_of_as_many(finish_run, runs):
    two = {"resources": {"processes": 2}}
    for method, top1 in (("rate_m", 0.9), ("bptt", 0.92)):
        finish_run("digits", f"method={method}", curve=(top1,))
        finish_run("digits", f"method={method}", curve=(top1 + 0.02,), identity=two)
    finish_run("digits", "seed=2", curve=(0.96,), identity=two)
    cells = {(cell.first.method, *label_words(cell.label)): cell for cell in cells_of(runs)}
    apart = cells["rate_m", "processes = 2"]
    assert (apart.last.mean, apart.last.count) == (pytest.approx(0.94), 2)
    assert cells["rate_m",].last.mean == 0.9 and cells["rate_m",].against.mean == pytest.approx(-0.02)
    assert apart.against is not None and apart.against.count == 1


def test_a_single_step_method_is_compared_with_single_step_bptt_where_that_was_trained(finish_run, runs):
    for method, top1 in (("bptt", 0.95), ("sltt", 0.93), ("rate_m", 0.94)):
        finish_run("digits", f"method={method}", curve=(top1,))
    found = {cell.first.method: (cell.control, cell.against) for cell in cells_of(runs)}
    assert found["bptt"] == ("", None)
    assert (found["sltt"][0], found["sltt"][1].mean) == ("bptt", pytest.approx(-0.02))
    assert "‡" not in markdown(cells_of(runs))
    finish_run("digits", "method=bptt_s", curve=(0.9,))
    found = {cell.first.method: (cell.control, cell.against.mean) for cell in cells_of(runs) if cell.against}
    assert found == {
        "bptt_s": ("bptt", pytest.approx(-0.05)),
        "rate_m": ("bptt", pytest.approx(-0.01)),
        "sltt": ("bptt_s", pytest.approx(0.03)),
    }
    assert "+3.00 ± –‡" in markdown(cells_of(runs)) and "‡ against single-step BPTT" in markdown(cells_of(runs))


def test_gradients_of_1_over_t_are_compared_with_bptt_at_as_small_steps_where_that_was_trained(finish_run, runs):
    finish_run("digits", "method.loss_scale=1/T", curve=(0.9,))
    finish_run("digits", "method=bptt", curve=(0.95,))
    assert [(cell.control, cell.equal_steps) for cell in cells_of(runs) if cell.against] == [("bptt", False)]
    assert "1/T of BPTT's" in markdown(cells_of(runs))
    finish_run("digits", "method=bptt", "lr=0.025", "optim.weight_decay=2e-3", curve=(0.91,))
    (scaled,) = (cell for cell in cells_of(runs) if cell.first.method == "rate_m")
    assert (scaled.control, scaled.equal_steps, scaled.against.mean) == ("bptt", True, pytest.approx(-0.01))
    assert "§ against BPTT at lr/T" in markdown(cells_of(runs)) and "1/T of BPTT's" not in markdown(cells_of(runs))


def test_differences_are_judged_together_only_if_a_margin_is_given(finish_run, runs):
    for seed in (1, 2, 3):
        finish_run("digits", f"seed={seed}", "method=bptt", curve=(0.95 + seed / 1000,))
        finish_run("digits", f"seed={seed}", "method.loss_scale=1", curve=(0.95 + seed / 900,))
        finish_run("digits", f"seed={seed}", "method=sltt", curve=(0.9 - seed / 1000,))
    entries = collect(run_directories(runs))[0]
    words = {cell.first.method: cell.judged.word for cell in make_cells(entries, 0.01) if cell.judged}
    assert words == {"rate_m": "equivalent", "sltt": "different"}
    assert "verdict" in markdown(make_cells(entries, 0.01)) and "verdict" not in markdown(make_cells(entries))


def test_the_moving_average_of_weights_is_a_note_and_changes_no_other_number(finish_run, runs):
    for seed, ema in ((1, 0.95), (2, 0.97)):
        run = finish_run("digits", f"seed={seed}", "train.ema=0.9", curve=(0.9,))
        summary = read_json(run.summary_json)
        write_json(run.summary_json, summary | {"last": summary["last"] | {"ema_top1": ema}})
    (cell,) = cells_of(runs)
    assert cell.last.mean == 0.9 and cell.best is not None and cell.best.mean == 0.9
    assert "the moving average of the last weights has 96.00 % (mean of 2 runs)" in cell.notes


def test_runs_that_ended_early_count_and_are_named_with_their_epochs(finish_run, runs):
    for seed, epoch in ((1, 7), (2, 9)):
        run = finish_run("digits", f"seed={seed}", "epochs=12", "guard.early_stop=2", curve=(0.9,))
        summary = read_json(run.summary_json)
        write_json(run.summary_json, summary | {"cause": "early_stop", "epoch": epoch, "reason": "early stop"})
    (cell,) = cells_of(runs)
    assert cell.last.count == 2
    assert "early stop: seed 1 after epoch 7, seed 2 after epoch 9, of 12" in cell.notes


def test_of_unfinished_runs_that_count_the_memory_counts_too(finish_run, runs):
    finish_run("digits", "seed=1", mem_peak=2**20)
    finish_run("digits", "seed=2", mem_peak=2**21, status="stopped")
    (cell,) = make_cells(collect(run_directories(runs), include_unfinished=True)[0])
    assert (cell.last.count, cell.mem_peak) == (2, 2**21)


@pytest.mark.parametrize("word", ["lr=0.05", "data.flip=true"])
def test_experiments_are_never_averaged_and_rows_name_what_differs(finish_run, runs, word):
    finish_run("digits", "seed=1", curve=(0.9,))
    finish_run("digits", "seed=2", word, curve=(0.8,))
    cells = cells_of(runs)
    assert sorted(cell.last.mean for cell in cells) == [0.8, 0.9]
    assert all(len(cell.runs) == 1 and len(cell.label) == 1 for cell in cells)
    assert len({tuple(cell.words("label")) for cell in cells}) == 2


def test_a_setting_that_differs_between_methods_or_timesteps_is_named_in_every_row(finish_run, runs):
    finish_run("digits", "T=2", "epochs=1")
    finish_run("digits", "T=2", "epochs=2", "method=rate_s")
    finish_run("digits", "T=6", "epochs=1", "lr=0.05")
    assert [(cell.first.method, cell.first.timesteps, cell.words("label")) for cell in cells_of(runs)] == [
        ("rate_m", 2, ["optim.lr = 0.1", "train.epochs = 1"]),
        ("rate_m", 6, ["optim.lr = 0.05", "train.epochs = 1"]),
        ("rate_s", 2, ["optim.lr = 0.1", "train.epochs = 2"]),
    ]


def test_methods_timesteps_and_what_differs_only_between_networks_need_no_label(finish_run, runs):
    for method in ("rate_m", "bptt"):
        for timesteps in (4, 2):
            finish_run("cifar10-resnet18", "epochs=1", f"method={method}", f"T={timesteps}")
    finish_run("cifar10-vgg11", "epochs=2")
    *cells, _ = found = cells_of(runs)
    assert [(cell.first.method, cell.first.timesteps) for cell in cells] == [
        ("bptt", 2),
        ("bptt", 4),
        ("rate_m", 2),
        ("rate_m", 4),
    ]
    assert not any(cell.label for cell in found)


def test_runs_of_one_hash_with_edited_settings_are_not_averaged(finish_run, runs):
    finish_run("digits", "seed=1")
    edited = finish_run("digits", "seed=2")
    edited.preset_toml.write_text(edited.preset_toml.read_text().replace("lr = 0.1", "lr = 0.2"))
    assert [cell.words("label") for cell in cells_of(runs)] == [["optim.lr = 0.1"], ["optim.lr = 0.2"]]


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["method=bptt"], "method.loss_scale=1"),  # BPTT ignores it
        (["optim.lr_factors={'0' = 0.5, '3' = 2.0}"], "optim.lr_factors={'3' = 2.0, '0' = 0.5}"),
        (["neuron.v_reset=0.0"], "neuron.v_reset=-0.0"),
        (["loss.distill=large"], "loss.distill=last"),  # the weights count, and not what their run is called
    ],
)
def test_seeds_whose_settings_are_written_otherwise_are_one_row(finish_run, runs, words, written):
    finish_run("digits", "seed=1", *words, identity={"experiment": "e"})
    finish_run("digits", "seed=2", *words, written, identity={"experiment": "e"})
    (cell,) = cells_of(runs)
    assert cell.last.count == 2 and not cell.label


def test_code_that_has_changed_under_its_name_is_named_and_compared_with_no_bptt(
    finish_run, runs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for words, width in ((["method=bptt"], 8), (["method=rate_m"], 9), (["method=rate_m", "T=2"], 8)):
        (tmp_path / "nets.py").write_text(f"class Net:\n    width = {width}\n")
        finish_run("digits", "model.name=nets.py:Net", *words)
    bptt, _, rate = cells_of(runs)
    assert rate.first.method == "rate_m" and rate.against is None
    assert bptt.label.keys() == rate.label.keys() == {"contents of model.name"} and bptt.label != rate.label
    [found] = [one for one in compare(run_directories(runs)).differences if one.key == "contents of model.name"]
    assert len(set(found.values)) == 2


def test_equal_settings_under_two_hashes_are_distinguished(finish_run, runs):
    finish_run("digits", "seed=1")
    other = finish_run("digits", "seed=2")
    change_identity(other, experiment="0123456789abcdef")
    words = [cell.words("label") for cell in cells_of(runs)]
    assert len(words) == 2 and ["recorded as 01234567"] in words


def test_differing_conditions_are_noted_with_the_seeds(finish_run, runs):
    def identity(torch: str, diff: str) -> dict[str, object]:
        return {"packages": {"torch": torch}, "git": {"commit": "c" * 40, "changed": bool(diff)}}

    finish_run("digits", "seed=1", identity=identity("2.8.0", ""), device="NVIDIA X (cuda:0)")
    finish_run("digits", "seed=2", identity=identity("2.8.0", "+1"), device="NVIDIA X (cuda:1)", host="there")
    finish_run("digits", "seed=3", identity=identity("2.9.0", ""), device="cpu")
    (cell,) = cells_of(runs)
    assert cell.notes == (
        "host differs: here (seeds 1, 3); there (seed 2)",
        "device differs: NVIDIA X (seeds 1, 2); cpu (seed 3)",
        "git commit differs: cccccccccc (seeds 1, 3); cccccccccc with uncommitted changes (seed 2)",
        "torch differs: 2.8.0 (seeds 1, 2); 2.9.0 (seed 3)",
    )


def test_a_note_beside_the_papers_figure_names_departures_from_the_preset(finish_run, runs):
    finish_run("cifar10-resnet18", "epochs=3", "lr=0.05")
    (cell,) = cells_of(runs)
    assert cell.notes == (
        "departs from the preset cifar10-resnet18: optim.lr = 0.05 (there 0.1), train.epochs = 3 (there 300)",
    )


def test_notes_say_where_the_best_epoch_was_chosen(finish_run, runs):
    finish_run("digits")
    assert any("chosen on the test set" in note for note in notes(cells_of(runs), costs=False))
    assert not any("held-out" in note for note in notes(cells_of(runs), costs=False))
    finish_run("digits", "train.validation_split=0.1", test={"last": 0.9, "best": 0.9})
    (held_out,) = (note for note in notes(cells_of(runs), costs=False) if "held-out" in note)
    assert held_out.endswith("digits, convnet, rate_M, T=4, train.validation_split = 0.1")


def test_a_best_that_is_unknown_for_some_runs_is_noted(finish_run, runs):
    finish_run("digits", "seed=1", "train.validation_split=0.1", test={"last": 0.9, "best": 0.9})
    finish_run("digits", "seed=2", "train.validation_split=0.1", test={"last": 0.9})
    (cell,) = cells_of(runs)
    assert cell.best.count == 1
    assert cell.notes == ("best is known of 1 of 2 runs",)


def test_an_empty_setting_is_none():
    words = label_words({"loss.distill": "", "neuron.learn": [], "optim.lr": 0.1})
    assert words == ["loss.distill = none", "neuron.learn = []", "optim.lr = 0.1"]


def test_runs_of_another_program_stand_beside_ours_in_the_report_and_in_figures(finish_run, runs, tmp_path):
    for seed in (1, 2):
        finish_run("digits", f"seed={seed}")
        given = {"lr": 0.1, "data": {"name": "digits"}, "method": {"name": "adjoint"}, "depth": 3, "seed": seed}
        with track(given, runs_dir=runs) as run:
            for epoch in (1, 2, 3):
                run.log(loss=1 / epoch, spikes=0.1)
                run.log(epoch=epoch, test_top1=0.8 + seed / 100)
    ours, theirs = cells_of(runs)
    assert (theirs.first.data, theirs.first.network, theirs.first.method, theirs.first.timesteps) == (
        "digits",
        "–",
        "adjoint",
        0,
    )
    assert theirs.last.mean == pytest.approx(0.815) and len(theirs.runs) == 2
    assert (theirs.label, ours.label, ours.against) == ({}, {}, None)
    assert theirs.notes[0].startswith("trained by another program, ") and theirs.title == "digits, adjoint"
    for table in (markdown, latex):
        assert "adjoint" in table([theirs, ours]) and "81.50" in table([theirs, ours])
    row = next(csv.DictReader(io.StringIO(csv_text([theirs, ours]))))
    assert (row["method"], row["timesteps"], row["runs"]) == ("adjoint", "", "2")
    entries = collect(run_directories(runs))[0]
    for kind in ("curves", "accuracy-vs-T", "cost"):
        draw(kind, entries, tmp_path / f"{kind}.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "<!-- Step -->" in drawn and "<!-- adjoint" in drawn
    assert "<!-- adjoint" not in (tmp_path / "cost.svg").read_text()


def test_the_scale_of_the_loss_is_the_rate_methods_own_and_steps_that_it_makes_smaller_are_told(finish_run, runs):
    for words in (["method=bptt"], ["method.loss_scale=1"], []):
        finish_run("digits", *words, curve=(0.9,))
    bptt, equal, scaled = cells = cells_of(runs)
    labels = [cell.label.get("method.loss_scale") for cell in (bptt, scaled, equal)]
    assert labels == [None, "1/T", "1"] and not bptt.label
    assert scaled.against.mean == equal.against.mean == 0.0
    told = [[note for note in notes(some, costs=False) if "1/T of BPTT's" in note] for some in ([bptt, equal], cells)]
    assert [len(found) for found in told] == [0, 1] and "convnet" not in told[1][0]
