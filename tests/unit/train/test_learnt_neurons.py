"""What neurons learn, in optimizers, presets and files of weights."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.preset import load_preset
from rbp_engine.preset.experiment import experiment_hash
from rbp_engine.spiking import LIF, PLIF, OwnNeuron
from rbp_engine.train.checkpoints.checkpoint import load_weights_file
from rbp_engine.train.errors import CheckpointError
from rbp_engine.train.optimisation import create_optimizer


@pytest.mark.parametrize(("name", "decay_norms"), [("sgd", False), ("adamw", True)])
def test_what_a_neuron_learns_never_decays(name, decay_norms):
    class Own(PLIF):
        """A kind of its user's own."""

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), LIF(learn=("decay", "threshold")), Own(0.5), OwnNeuron())
    model[4].leak = nn.Parameter(torch.ones(2))
    model[4].more = nn.ParameterDict({"gain": torch.ones(2)})
    optimizer = create_optimizer(model, name, lr=0.1, weight_decay=0.1, decay_norms=decay_norms)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {path: decay[id(parameter)] for path, parameter in model.named_parameters()}
    assert found["0.weight"] == 0.1 and found["1.weight"] == 0.1 * decay_norms
    assert {found["2.decay_logit"], found["2.log_threshold"], found["3.decay_logit"], found["4.leak"]} == {0.0}
    assert found["4.more.gain"] == 0.0


def by_channel() -> nn.Module:
    torch.manual_seed(0)
    neuron = {"threshold": 0.05, "learn": ["decay", "threshold"], "learn_by": "channel"}
    return create_model("convnet", num_classes=3, in_channels=1, **neuron)


def test_weights_in_a_file_give_parameters_by_channel_their_shape(tmp_path):
    trained, fresh = by_channel(), by_channel()
    images = torch.rand(2, 1, 8, 8)
    expected = create_method("rate_m", 2).predict(trained, images)
    with torch.no_grad():
        for module in trained.modules():
            if isinstance(module, LIF):
                module.log_threshold.sub_(torch.rand(module.log_threshold.shape))
    file = tmp_path / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in trained.state_dict().items()}, file)
    load_weights_file(file, "weights", fresh)
    found = create_method("rate_m", 2).predict(fresh, images)
    assert torch.equal(found, create_method("rate_m", 2).predict(trained, images))
    assert not torch.equal(found, expected)


def test_weights_of_a_network_with_fixed_neurons_do_not_fit_one_that_learns(tmp_path):
    fixed = create_model("convnet", num_classes=3, in_channels=1)
    file = tmp_path / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in fixed.state_dict().items()}, file)
    with pytest.raises(CheckpointError, match="decay_logit is only here"):
        load_weights_file(file, "weights", create_model("convnet", num_classes=3, in_channels=1, learn=["decay"]))


def test_a_preset_names_what_is_learnt_in_any_order():
    presets = [load_preset("digits", [f"neuron.learn={value}"]).preset for value in ('["threshold","decay"]', "[]")]
    assert presets[0].neuron.learn == ["decay", "threshold"]
    assert experiment_hash(presets[1]) == experiment_hash(load_preset("digits").preset) != experiment_hash(presets[0])
