"""`rbp eval` on a really trained run."""

import json
import os
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("evaluations")  # they share runs


@pytest.fixture(scope="module")
def trained(rbp_in, tmp_path_factory):
    rbp = rbp_in(tmp_path_factory.mktemp("trained"))
    rbp("train", "digits", "T=3", "epochs=2", "batch=128", "train.ema=0.9", "--id", "mine")
    return rbp


@pytest.fixture(scope="module")
def result(trained):
    (result,) = trained.json("eval", "mine")
    return result


@pytest.fixture(scope="module")
def full(trained):
    return trained.json("eval", "mine", "robustness", "classes", "--figure", "m.svg", "--predictions", "p.npz")


def test_the_last_weights_give_the_runs_accuracy_and_one_after_every_step(trained, result):
    assert result["top1"] == pytest.approx(trained.json("show", "mine")["summary"]["last"]["top1"])
    assert len(result["top1_by_step"]) == 3
    assert result["top1_by_step"][-1] == result["top1"]
    assert result["samples"] == 360


def test_the_moving_average_is_evaluated_beside_the_weights_and_afterwards(trained, result):
    recorded = trained.json("show", "mine")["summary"]["last"]
    (averaged,) = trained.json("eval", "mine", "--ema")
    assert averaged["top1"] == pytest.approx(recorded["ema_top1"])
    assert averaged["loss"] != result["loss"] and averaged["weights"] == "averaged last"
    assert f"{100 * recorded['ema_top1']:.2f} % top-1 with the moving average" in trained("show", "mine").stdout
    assert f"{100 * recorded['ema_top1']:.2f} % (ema)" in trained("logs", "mine").stdout
    [event] = trained.json("ls", f"ema={100 * recorded['ema_top1']:.2f}%")
    assert event["id"] == "mine"


def test_invalid_numbers_and_a_run_without_a_checkpoint_give_one_message(trained, rbp):
    for wrong in ("x", "0", "200000"):
        assert "from 1 to 10000, such as 1,2,4" in trained("eval", "mine", "--timesteps", wrong, code=2).stderr
    shutil.copytree(trained.runs, rbp.runs)
    for path in (rbp.runs / "mine" / "checkpoints").rglob("manifest.json"):
        path.unlink()
    assert "no checkpoint" in rbp("eval", "mine", code=1).stderr


def test_gradients_are_compared_with_those_of_bptt_for_every_method_and_t(trained):
    results = trained.json("eval", "mine", "gradients", "--timesteps", "1,3")
    assert [(one["timesteps"], one["method"]) for one in results] == [
        (steps, method) for steps in (1, 3) for method in ("rate_m", "rate_s", "sltt", "ottt")
    ]
    assert all(one["cosine"] == pytest.approx(1.0, abs=1e-5) for one in results[:4])
    assert all(0.5 < one["cosine"] < 1.0 for one in results[4:])
    assert {weight["cosine"] is not None for one in results for weight in one["by_weight"].values()} == {True}
    assert {"conv 1", "linear 1"} <= results[0]["by_weight"].keys() and "neurons 1" in results[0]["neuron_error"]
    worst = [
        max(*(weight["error"] for weight in one["by_weight"].values()), *one["neuron_error"].values())
        for one in results
    ]
    assert all(error < 1e-5 for error in worst[:4]) and all(0.01 < error < 1.0 for error in worst[4:])
    shown = trained("eval", "mine", "gradients").stdout
    assert "rate_M" in shown and "norm ratio" in shown
    assert f"{max(results[4]['neuron_error'].values()):.3f}" in shown
    assert "--shuffle-time" in trained("eval", "mine", "gradients", "--shuffle-time", code=2).stderr


def test_the_classes_are_those_of_the_saved_predictions(trained, result, full):
    saved = np.load(trained.folder / "p.npz")
    labels, predictions, logits = saved["labels"], saved["predictions"], saved["logits"]
    assert logits.shape == (360, 10) and np.array_equal(logits.argmax(1), predictions)
    found = full["by_class"]
    assert found["of"]["top1"] == result["top1"] == np.mean(labels == predictions)
    assert full["accuracy"] == [result]
    classes = found["classes"]
    assert [one["name"] for one in classes] == list("0123456789")
    assert [one["samples"] for one in classes] == np.bincount(labels).tolist()
    worst = found["worst"][0]["index"]
    assert labels[worst] != predictions[worst] and f"#{worst}" in (trained.folder / "m.svg").read_text()


def test_the_rows_of_the_robustness_table_are_what_single_evaluations_find(trained, full, result):
    found = full["robustness"]
    rows = {(row["kind"], row["timesteps"], row["amount"]): row["top1"] for row in found["rows"]}
    assert found["of"]["top1"] == result["top1"]
    one, two, six = trained.json("eval", "mine", "--timesteps", "1,2,6")
    assert [found["timesteps"] for found in (one, two, six)] == [1, 2, 6]
    assert one["top1_by_step"] == six["top1_by_step"][:1]
    assert rows["timesteps", 1, 0.0] == one["top1"] and rows["timesteps", 6, 0.0] == six["top1"]
    (shuffled,) = trained.json("eval", "mine", "--shuffle-time")
    assert shuffled["shuffled"] and shuffled["top1_by_step"] != result["top1_by_step"]
    assert rows["shuffled", 3, 0.0] == shuffled["top1"] == pytest.approx(result["top1"], abs=0.1)
    assert {kind for kind, *_ in rows} == {"timesteps", "shuffled", "noise", "dropped"}
    assert rows["dropped", 3, 2] < result["top1"]


def test_what_was_found_is_kept_in_the_run_and_printed_as_tables(trained, full):
    kept = json.loads((trained.runs / "mine" / "evaluation.json").read_text())
    assert full["saved"] and kept == {part: full[part] for part in ("robustness", "by_class")}
    done = trained("eval", "mine", "robustness", "classes", "--timesteps", "2")
    for text in ("T needed", "T = 2", "noise of 0.1 σ", "no input at 1 of 3 timesteps", "precision %", "confidence %"):
        assert text in done.stdout, text
    assert "T = 6" not in done.stdout and "seed 0" in done.stdout
    again = json.loads((trained.runs / "mine" / "evaluation.json").read_text())
    assert [row["timesteps"] for row in again["robustness"]["rows"] if row["kind"] == "timesteps"] == [2]


def test_figures_that_cannot_be_kept_are_printed(trained, rbp):
    shutil.copytree(trained.runs / "mine", rbp.runs / "mine")
    (rbp.runs / "mine" / "evaluation.json").unlink(missing_ok=True)
    (rbp.runs / "mine" / "evaluation.json").mkdir()
    done = rbp("eval", "mine", "classes")
    assert "precision %" in done.stdout and "not kept in the run: cannot write" in done.stderr


@pytest.mark.root
def test_nothing_is_written_into_a_run_of_another_user(trained, rbp):
    shutil.copytree(trained.runs / "mine", rbp.runs / "mine")
    (rbp.runs / "mine" / "evaluation.json").unlink(missing_ok=True)
    os.chown(rbp.runs / "mine" / "run.json", 54321, -1)
    assert "another user" in rbp("eval", "mine", "classes").stderr
    assert not (rbp.runs / "mine" / "evaluation.json").exists()
    (rbp.runs / "mine" / "energy.json").unlink(missing_ok=True)
    assert "another user" in rbp("eval", "mine", "energy").stderr
    assert not (rbp.runs / "mine" / "energy.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("robustness", "classes", "--shuffle-time"), "--shuffle-time"),
        (("classes", "--timesteps", "1,2"), "one T"),
        (("--predictions", "p.csv"), "must end in .npz"),
        (("--figure", "m.txt"), ".pdf"),
    ],
)
def test_contradictions_and_files_that_cannot_be_written_are_refused(rbp_here, trained, words, says):
    done = rbp_here("eval", "mine", *words, "--runs-dir", str(trained.runs), code=2)
    assert says in done.stderr


def test_the_timesteps_that_are_needed_are_a_column_and_a_field_of_queries(rbp_here, trained, result):
    runs = ("--runs-dir", str(trained.runs))
    needed = rbp_here.json("show", "mine", *runs)["summary"]["timesteps_needed"]
    accurate = [t for t, top1 in enumerate(result["top1_by_step"], start=1) if top1 >= result["top1"] - 0.005]
    assert needed == accurate[0]
    assert (f"{needed} of 3 give" in rbp_here("show", "mine", *runs).stdout) is (needed < 3)
    assert "T needed" in rbp_here("ls", f"T_needed={needed}", "--columns", "T_needed", *runs).stdout
    assert rbp_here.json("report", *runs)["rows"][0]["timesteps_needed"] == needed


def test_several_parts_are_measured_at_once_and_each_is_what_it_is_alone(trained, result, full):
    energy, gradients = trained.json("eval", "mine", "energy"), trained.json("eval", "mine", "gradients")
    found = trained.json("eval", "mine", "energy", "classes", "gradients")
    assert found["accuracy"] == [result] and found["by_class"]["classes"] == full["by_class"]["classes"]
    assert found["energy"] == energy and found["gradients"] == gradients
    shown = trained("eval", "mine", "gradients", "energy").stdout
    assert "norm ratio" in shown and "2-bit ANN" in shown and "top-1" not in shown


def test_energy_is_measured_kept_and_shown_as_columns(trained):
    shown = trained("eval", "mine", "energy").stdout
    assert "This run" in shown and "all neurons" in shown and "2-bit ANN" in shown
    assert "–" not in trained("ls", "--columns", "energy_uj,synops").stdout.splitlines()[1]
    assert len(trained("ls", "synops>0").stdout.splitlines()) == 2
    assert "trained number" in trained("eval", "mine", "energy", "--timesteps", "2", code=2).stderr
