"""`loss.heads` in real runs: heads train beside the network, which is afterwards one like any other."""

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import rbp_engine
from rbp_engine.data.loading.loading import load

HEADS = 'loss.heads=["2","6"]'


def test_a_network_learns_with_heads_and_is_evaluated_without_them(finished, rbp):
    there, _ = finished
    rbp("train", "digits", "T=1", "epochs=4", "batch=64", HEADS, "--id", "mine")
    summary = rbp.json("runs", "show", "mine")["summary"]
    assert summary["last"]["top1"] > 0.9
    (result,) = rbp.json("eval", "mine")
    assert result["top1"] == summary["last"]["top1"]

    newest = max((rbp.runs / "mine" / "checkpoints").glob("step-*"))
    plain = max((there.runs / "mine" / "checkpoints").glob("step-*"))
    assert load_file(newest / "model.safetensors").keys() == load_file(plain / "model.safetensors").keys()
    heads = torch.load(newest / "optimizer.pt", weights_only=True)["heads"]
    assert {name: list(tensor.shape) for name, tensor in heads.items() if "weight" in name} == {
        "0.weight": [10, 32],
        "1.weight": [10, 64],
    }

    loaded, test, found = rbp_engine.load(newest), load("digits").test, []
    with loaded.model.get_submodule("6").register_forward_hook(lambda m, x, spikes: found.append(spikes.time_mean())):
        loaded.predict(test.pixels)
    of_head = F.linear(torch.cat(found).mean((2, 3)), heads["1.weight"], heads["1.bias"])
    assert (of_head.argmax(1) == test.labels).float().mean() > 0.5  # its rates learn the classes


def test_a_head_on_a_module_that_is_not_there_is_found_before_a_run(rbp):
    rbp("try", "--example")
    done = rbp("try", "nets.py:MyNet", "T=1", "--input", "1,8,8", 'loss.heads=["22"]', code=1)
    assert "loss.heads names '22', and the network has no module there. Did you mean '2'?" in done.stderr
