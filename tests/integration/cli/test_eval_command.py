"""`rbp eval` on a really trained run."""

import shutil

import pytest


@pytest.fixture(scope="module")
def trained(rbp_in, tmp_path_factory):
    rbp = rbp_in(tmp_path_factory.mktemp("trained"))
    rbp("train", "digits", "T=3", "epochs=2", "batch=128", "--id", "mine")
    return rbp


@pytest.fixture(scope="module")
def result(trained):
    (result,) = trained.json("eval", "mine")
    return result


def test_the_last_weights_give_the_runs_accuracy_and_one_after_every_step(trained, result):
    assert result["top1"] == pytest.approx(trained.json("runs", "show", "mine")["summary"]["last"]["top1"])
    assert len(result["top1_by_step"]) == 3
    assert result["top1_by_step"][-1] == result["top1"]
    assert result["samples"] == 360


def test_other_numbers_of_timesteps_begin_with_the_same_steps(trained):
    results = trained.json("eval", "mine", "--timesteps", "1,2,6")
    assert [result["timesteps"] for result in results] == [1, 2, 6]
    assert results[0]["top1_by_step"] == results[2]["top1_by_step"][:1]
    assert "top-1 %" in trained("eval", "mine", "--timesteps", "2").stdout


def test_shuffling_time_changes_the_steps_but_hardly_the_accuracy(trained, result):
    (shuffled,) = trained.json("eval", "mine", "--shuffle-time")
    assert shuffled["shuffled"]
    assert shuffled["top1_by_step"] != result["top1_by_step"]
    assert shuffled["top1"] == pytest.approx(result["top1"], abs=0.1)


def test_invalid_numbers_and_a_run_without_a_checkpoint_give_one_message(trained, rbp):
    assert "1,2,4" in trained("eval", "mine", "--timesteps", "x", code=2).stderr
    shutil.copytree(trained.runs, rbp.runs)
    for path in (rbp.runs / "mine" / "checkpoints").rglob("manifest.json"):
        path.unlink()
    assert "no checkpoint" in rbp("eval", "mine", code=1).stderr


def test_gradients_are_compared_with_those_of_bptt_for_every_method_and_t(trained):
    results = trained.json("eval", "mine", "--gradients", "--timesteps", "1,3")
    assert [(one["timesteps"], one["method"]) for one in results] == [
        (steps, method) for steps in (1, 3) for method in ("rate_m", "rate_s", "sltt", "ottt")
    ]
    assert all(one["cosine"] == pytest.approx(1.0, abs=1e-5) for one in results[:4])
    assert all(0.5 < one["cosine"] < 1.0 for one in results[4:])
    assert {weight["cosine"] is not None for one in results for weight in one["by_weight"].values()} == {True}
    shown = trained("eval", "mine", "--gradients").stdout
    assert "rate_M" in shown and "norm ratio" in shown
    assert "--shuffle-time" in trained("eval", "mine", "--gradients", "--shuffle-time", code=2).stderr
