"""The list of a network's layers: what each one returns, and its parameters."""

import torch
from torch import nn

from rbp_engine.bench.count_layers import layers_of
from rbp_engine.bench.layers import Layer, count_layers, same_network
from rbp_engine.preset import load_preset
from rbp_engine.spiking import LIF


class Odd(nn.Module):
    """Layers that are used twice, bypassed and never used, and a weight that belongs to no layer."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.gain = nn.Parameter(torch.ones(3))
        self.twice = nn.Conv2d(3, 3, 1, bias=False)
        self.again = self.twice
        self.neuron = LIF()
        self.dropped = nn.Identity()
        self.head = nn.Linear(3, 2)
        self.tied = nn.Linear(3, 2)
        self.tied.weight = self.head.weight

    def forward(self, x):
        x = self.neuron(self.again(self.twice(x)) * self.gain.view(1, 3, 1, 1))
        return self.head(x.mean((2, 3))) + self.tied(x.mean((2, 3)))


def test_layers_are_listed_in_the_order_of_their_calls_and_each_parameter_counts_once():
    model = Odd()
    layers = [tuple(layer.values()) for layer in layers_of(model, torch.ones(1, 3, 4, 4))]
    assert layers == [
        ("twice", "Conv2d", [3, 4, 4], 9),
        ("neuron", "LIF", [3, 4, 4], 0),
        ("head", "Linear", [2], 8),
        ("tied", "Linear", [2], 2),
        ("Odd", "Odd", [2], 3),
        ("unused", "Linear", [], 6),
    ]
    assert sum(count for *_, count in layers) == sum(parameter.numel() for parameter in model.parameters())


def test_the_layers_of_a_preset_are_counted_without_its_data_and_its_settings_of_training_do_not_matter():
    loaded = load_preset("mnist", ["arch=convnet"])
    network = count_layers(loaded)
    assert network.input == (1, 28, 28)
    assert network.layers[0] == Layer("0", "Conv2d", (32, 28, 28), 288)
    assert network.layers[-1].shape == (10,)
    assert network.parameters == sum(layer.parameters for layer in network.layers)
    assert same_network(loaded) == same_network(load_preset("mnist", ["arch=convnet", "T=2", "batch=7", "lr=1"]))
    assert same_network(loaded) != same_network(load_preset("fashion-mnist", ["arch=convnet"]))
