"""Which of SpikingJelly's own networks train unmodified with our neuron instead of theirs."""

import copy

import pytest
import torch
from spikingjelly.activation_based import functional, layer
from spikingjelly.activation_based import neuron as theirs
from spikingjelly.activation_based.model import parametric_lif_net, sew_resnet, spiking_resnet, spiking_vggws_ottt
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor
from rbp_engine.spiking.current import Current

T, B, SIZE = 2, 2, 48
LABELS = torch.tensor([1, 7])


OURS = {"spiking_neuron": LIF, "num_classes": 10}
NETWORKS = {
    "sew_resnet18": lambda: sew_resnet.sew_resnet18(cnf="ADD", **OURS),
    "spiking_resnet18": lambda: spiking_resnet.spiking_resnet18(**OURS),
}
# [C, H, W] of an image beside the network.
TRAINED = {
    **{name: (make, (3, SIZE, SIZE)) for name, make in NETWORKS.items()},
    "SEW-ResNet AND": (lambda: sew_resnet.sew_resnet18(cnf="AND", **OURS), (3, 32, 32)),
    "SEW-ResNet IAND": (lambda: sew_resnet.sew_resnet18(cnf="IAND", **OURS), (3, 32, 32)),
    "OTTT VGG": (lambda: spiking_vggws_ottt.ottt_spiking_vggws(**OURS), (3, 32, 32)),
    "PLIF MNIST": (lambda: parametric_lif_net.MNISTNet(4, LIF), (1, 28, 28)),
    "PLIF CIFAR-10": (lambda: parametric_lif_net.CIFAR10Net(4, LIF), (3, 32, 32)),
}


@pytest.mark.parametrize("name", TRAINED)
def test_networks_that_take_our_neuron_train(name):
    torch.manual_seed(0)
    make, image = TRAINED[name]
    model = make()
    for method in ("rate_m", "bptt_s"):
        model.zero_grad()
        output = create_method(method, T).step(model, torch.randn(B, *image), LABELS)
        assert output.logits.shape == (B, 10) and output.loss.isfinite()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_network_with_their_neurons_is_refused_before_it_runs():
    model = nn.Sequential(nn.Flatten(), layer.Linear(12, 4), theirs.LIFNode())
    message = (
        r"^SpikingJelly's LIFNode at 2 are not trained here, rbp_engine\.spiking\.make_spiking\(network\) puts LIF"
    )
    for run in (
        lambda method: method.step(model, torch.rand(2, 12), LABELS[:1]),
        lambda method: method.predict(model, torch.rand(2, 12)),
    ):
        with pytest.raises(TypeError, match=message):
            run(create_method("rate_m", T))


@pytest.mark.parametrize("model", ["sew_resnet18", "spiking_resnet18"])
@pytest.mark.parametrize("training", [True, False])
def test_logits_equal_those_of_spikingjellys_own_multi_step_forward(model, training):
    torch.manual_seed(0)
    ours = NETWORKS[model]().train(training)
    theirs = copy.deepcopy(ours)
    functional.set_step_mode(theirs, "m")
    x = torch.randn(B, 3, SIZE, SIZE).expand(T, B, 3, SIZE, SIZE).contiguous()
    with torch.no_grad():
        expected = theirs(x)
        sequence = ours(SequenceTensor(Current.of(x))).values()
    torch.testing.assert_close(sequence, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()), rtol=1e-4, atol=1e-4)


def with_dropout():
    torch.manual_seed(0)
    return nn.Sequential(layer.Flatten(), layer.Linear(12, 400), LIF(), layer.Dropout(0.5), layer.Linear(400, 10))


@pytest.mark.parametrize("kind", ["rate", "sequence"])
def test_spikingjellys_dropout_has_one_mask_for_all_steps(kind):
    torch.manual_seed(0)
    x = torch.ones(T, B, 300)
    out = layer.Dropout(0.5)((RateTensor if kind == "rate" else SequenceTensor)(Current.of(x)))
    steps = out.resolve().values()
    assert torch.equal(steps[0], steps[1])
    assert set(steps.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("name", METHODS)
def test_spikingjellys_dropout_draws_a_new_mask_at_every_step_of_training_and_is_off_in_predict(name):
    """It keeps its mask until it is reset, and a method's step resets state."""
    model, method = with_dropout(), create_method(name, T)
    method.step(model, torch.randn(3, 3, 2, 2), torch.tensor([0, 1, 2]))
    x = torch.randn(B, 3, 2, 2) * 3
    first, second = (method.step(model, x, LABELS).logits for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(method.predict(model, x), method.predict(model, x))
