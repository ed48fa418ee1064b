"""`loss.branches` in real runs: branches train beside the network, which is afterwards one like any other."""

import pytest
import torch
from safetensors.torch import load_file

import rbp_engine
from rbp_engine.data.catalog import catalogued
from rbp_engine.errors import SettingsError
from rbp_engine.methods.self_distillation import Branch
from rbp_engine.preset import load_preset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.build import build_branches, build_feed, build_model

CPU = torch.device("cpu")
BRANCHES = 'loss.branches=["2","6"]'


def test_a_network_learns_with_branches_and_is_evaluated_without_them(finished, rbp):
    there, _ = finished
    rbp("train", "digits", "T=1", "epochs=4", "batch=64", BRANCHES, "--id", "mine")
    summary = rbp.json("show", "mine")["summary"]
    assert summary["last"]["top1"] > 0.9
    (result,) = rbp.json("eval", "mine")
    assert result["top1"] == summary["last"]["top1"]
    exported = rbp.json("export", "nir", "mine", "--soft-reset-as-metadata")
    assert (exported["nodes"]["Conv2d"], exported["nodes"]["Affine"]) == (3, 1)  # those of the network itself
    assert exported["predictions"]["same"] == exported["predictions"]["images"]

    newest = max((rbp.runs / "mine" / "checkpoints").glob("step-*"))
    plain = max((there.runs / "mine" / "checkpoints").glob("step-*"))
    assert load_file(newest / "model.safetensors").keys() == load_file(plain / "model.safetensors").keys()
    saved = torch.load(newest / "optimizer.pt", weights_only=True)["branches"]
    branch = Branch((64, 4, 4), 10)
    branch.load_state_dict({key.removeprefix("1."): value for key, value in saved.items() if key.startswith("1.")})

    loaded, test, found = rbp_engine.load(newest), catalogued("digits").load().test, []
    with loaded.model.get_submodule("6").register_forward_hook(lambda m, x, spikes: found.append(spikes.time_mean())):
        loaded.predict(test.pixels)
    right = branch(torch.cat(found)).argmax(1) == test.labels
    assert right.float().mean() > 0.5  # its rates learn the classes


def test_a_branch_on_a_module_that_is_not_there_is_found_before_a_run(rbp):
    rbp("try", "--example")
    done = rbp("try", "nets.py:MyNet", "T=1", "--input", "1,8,8", 'loss.branches=["22"]', code=1)
    assert "loss.branches names '22', and the network has no module there. Did you mean '2'?" in done.stderr


def built(path, size, *words):
    """The branches of a run on so many images of 8 × 8 pixels."""
    fake = f"data.args={{train_size={size},test_size=4,shape=[1,8,8],classes=10}}"
    run, preset = RunDirectory(path), load_preset("digits", ["data=fake", fake, "loss.branches=5,8", *words])
    feed = build_feed(run, preset.preset, CPU)
    return build_branches(preset.preset, build_model(run, preset.preset, feed, CPU), feed)


@pytest.mark.parametrize(("size", "words"), [(5, ["batch=4"]), (8, ["batch=4", "train.accumulate=4"])])
def test_parts_of_one_image_are_refused_at_the_start_and_not_at_the_end_of_an_epoch(tmp_path, size, words):
    with pytest.raises(SettingsError, match=r"parts of one.*data\.drop_last = true.*a smaller train\.accumulate"):
        built(tmp_path, size, *words)
    assert built(tmp_path, 5, "batch=4", "data.drop_last=true") is not None
