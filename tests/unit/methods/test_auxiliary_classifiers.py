"""Networks with auxiliary classifiers: the loss of a step, its gradients, and what is reported."""

from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.googlenet import GoogLeNetOutputs
from torchvision.models.inception import InceptionOutputs

from rbp_engine.methods import METHODS, Loss, create_method
from rbp_engine.methods.loss import AUXILIARY_WEIGHTS
from rbp_engine.spiking import LIF

T, LABELS = 3, torch.tensor([0, 2])


class Headed(nn.Module):
    """A hidden layer, and a linear layer for each of the outputs."""

    def __init__(self, outputs, heads):
        super().__init__()
        self.outputs, self.hidden, self.fire = outputs, nn.Linear(6, 8), LIF(threshold=0.3)
        self.heads = nn.ModuleList(nn.Linear(8, 3) for _ in range(heads))

    def forward(self, x):
        x = self.fire(self.hidden(x))
        return self.outputs(*(head(x) for head in self.heads)) if self.training else self.heads[0](x)


def made(outputs, heads):
    torch.manual_seed(0)
    return Headed(outputs, heads).double()


IMAGES = torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2
KINDS = [(GoogLeNetOutputs, 3, 0.3), (InceptionOutputs, 2, 0.4)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("outputs", "heads", "weight"), KINDS)
def test_the_gradients_are_the_weighted_sum_of_those_of_each_head(outputs, heads, weight, method):
    network = made(outputs, heads)
    out = create_method(method, T).step(network, IMAGES, LABELS)
    expected = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
    losses = []
    for number in range(heads):
        alone = made(lambda *logits, number=number: logits[number], heads)
        found = create_method(method, T).step(alone, IMAGES, LABELS)
        losses.append(found.loss * (weight if number else 1.0))
        for name, parameter in alone.named_parameters():
            if parameter.grad is not None:
                expected[name] += parameter.grad * (weight if number else 1.0)
        if number == 0:
            torch.testing.assert_close(out.logits, found.logits, rtol=0, atol=1e-15)
    torch.testing.assert_close(out.loss, sum(losses), rtol=1e-12, atol=0)
    for name, parameter in network.named_parameters():
        assert expected[name].abs().max() > 0
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", ["bptt", "bptt_s", "sltt", "ottt"])
def test_a_loss_at_every_step_is_of_every_head(method):
    network = made(InceptionOutputs, 2)
    out = create_method(method, T, loss=Loss("tet")).step(network, IMAGES, LABELS)
    by_step = create_method(method, T).predict(network, IMAGES)
    aside = made(InceptionOutputs, 2)
    aside.heads[0] = aside.heads[1]
    aside_by_step = create_method(method, T).predict(aside, IMAGES)
    expected = sum(
        w * F.cross_entropy(logits_t, LABELS) / T
        for w, steps in ((1.0, by_step), (0.4, aside_by_step))
        for logits_t in steps
    )
    torch.testing.assert_close(out.loss, expected)


@pytest.mark.parametrize("method", METHODS)
def test_an_evaluation_has_the_logits_alone(method):
    assert create_method(method, T).predict(made(GoogLeNetOutputs, 3), IMAGES).shape == (T, 2, 3)


def test_a_network_whose_auxiliary_heads_were_taken_off_has_its_logits_alone():
    network = made(lambda logits: GoogLeNetOutputs(logits, None, None), 1)
    plain = made(lambda logits: logits, 1)
    for model in (network, plain):
        create_method("rate_m", T).step(model, IMAGES, LABELS)
    assert torch.equal(network.hidden.weight.grad, plain.hidden.weight.grad)


@pytest.mark.parametrize("method", METHODS)
def test_other_outputs_are_refused_with_what_to_do(method):
    pair = namedtuple("Pair", ["logits", "features"])
    with pytest.raises(TypeError, match=r"returned Pair; it must return the logits of its last layer alone.*GoogLeNet"):
        create_method(method, T).step(made(pair, 2), IMAGES, LABELS)


def test_the_names_are_those_of_torchvision():
    assert AUXILIARY_WEIGHTS.keys() == {GoogLeNetOutputs.__name__, InceptionOutputs.__name__}
