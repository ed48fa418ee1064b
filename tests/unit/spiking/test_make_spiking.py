"""Networks with activations, or with SpikingJelly's neurons, become ours."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn import functional as F

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF, make_spiking


def neurons(network: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in network.named_modules() if isinstance(module, LIF)}


class Functional(nn.Module):
    """Calls activations as functions, in all forms that people write."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 3)
        self.act = F.gelu

    def forward(self, x: Tensor) -> Any:
        x = functional.relu(self.first(x), inplace=True)
        x = F.dropout(x, 0.5, training=self.training)
        return self.head(x)

    def head(self, x: Tensor) -> Any:
        return self.second(self.act(x + torch.relu(self.first(x)).relu()))

    def never_called(self, x: Tensor) -> Tensor:
        return F.silu(x)


def test_every_activation_of_a_plain_network_becomes_a_neuron_and_the_rest_is_reported() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4), nn.ReLU(inplace=True), nn.Sigmoid())
    same, report = make_spiking(network, partial(LIF, decay=0.5))
    assert same is network
    assert list(neurons(network)) == ["1", "3"]
    assert {neuron.decay for neuron in neurons(network).values()} == {0.5}
    assert [(part.kind, part.path) for part in report.kept] == [("LayerNorm", "2"), ("Sigmoid", "4")]
    assert str(report).splitlines()[:3] == ["2 neurons in the place of:", "  1 × GELU: 1", "  1 × ReLU: 3"]


def test_a_module_with_two_names_becomes_two_neurons() -> None:
    shared = nn.ReLU()
    network = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    make_spiking(network)
    assert network[1] is not network[3]
    assert list(neurons(network)) == ["1", "3"]


def test_activations_that_a_forward_calls_as_functions_become_neurons() -> None:
    network = Functional()
    parameters = list(network.state_dict())
    _, report = make_spiking(network)
    assert [part.kind for part in report.replaced] == ["gelu()", "relu()", "relu()", "relu()"]
    assert list(network.state_dict()) == parameters
    assert not report.kept
    assert isinstance(network, Functional)
    network.eval()
    copied = copy.deepcopy(network)
    for model in (network, copied):
        one = model(torch.rand(2, 6, generator=torch.Generator().manual_seed(0)))
        assert one.shape == (2, 3)
    assert network(torch.rand(2, 6)).shape == (2, 3), "no dropout is fixed by the conversion"


def test_a_method_trains_what_forward_called_as_functions() -> None:
    network = Functional()
    make_spiking(network)
    spikes: list[Tensor] = []
    network.get_submodule("relu_neuron").register_forward_hook(lambda module, given, out: spikes.append(out))
    create_method("rate_m", timesteps=3).step(network, torch.rand(2, 6), torch.tensor([0, 1]))
    assert len(spikes) == 1
    assert network.first.weight.grad is not None


class Private(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.__own = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.__own(x))


def test_a_function_that_cannot_be_replaced_is_reported_with_its_module() -> None:
    _, report = make_spiking(nn.Sequential(Private()))
    assert not report.replaced
    assert report.kept[0].path == "0"
    assert "private to its class" in report.kept[0].note
