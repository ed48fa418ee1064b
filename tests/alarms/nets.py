"""Networks with a fault, for the runs that the alarms are tested with."""

import torch
from torch import nn


class FaultyNorm(nn.BatchNorm2d):
    """Batch norm whose bias becomes `bias` in training step `step`, counted from 1: nothing brings it back."""

    def __init__(self, channels, bias, step):
        super().__init__(channels)
        self.fault = bias
        self.fault_step = step
        self.steps = 0

    def forward(self, x):
        if self.training:
            self.steps += 1
            if self.steps == self.fault_step:
                with torch.no_grad():
                    self.bias.fill_(self.fault)
        return super().forward(x)


def plain(
    *, num_classes, in_channels, neuron, width = 16, depth = 5, norm = True,
    fault = None, bias = -10.0, step = 1, gain = 1.0
):  # fmt: skip
    """`depth` layers of convolution, batch norm unless `norm` is false, and neuron; layer `fault` has the fault."""
    layers = []
    for number in range(1, depth + 1):
        layers.append((f"conv{number}", nn.Conv2d(in_channels, width, 3, padding=1, bias=not norm)))
        nn.init.kaiming_normal_(layers[-1][1].weight).data.mul_(gain)
        if norm:
            faulty = FaultyNorm(width, bias, step) if number == fault else nn.BatchNorm2d(width)
            layers.append((f"norm{number}", faulty))
        layers.append((f"neuron{number}", neuron()))
        if number == 1:
            layers.append(("pool1", nn.AvgPool2d(2)))
        in_channels = width
    layers += [("pool", nn.AdaptiveAvgPool2d(2)), ("flatten", nn.Flatten())]
    layers.append(("head", nn.Linear(4 * width, num_classes)))
    net = nn.Sequential()
    for name, layer in layers:
        net.add_module(name, layer)
    return net


class Block(nn.Module):
    def __init__(self, width, neuron, fault, step):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width) if fault is None else FaultyNorm(width, fault, step)
        self.neuron = neuron()

    def forward(self, x):
        return x + self.neuron(self.norm(self.conv(x)))


class Residual(nn.Module):
    """A stem and `depth` blocks whose spikes are added to their input; block `fault` has the fault."""

    def __init__(
        self, *, num_classes, in_channels, neuron, width = 16, depth = 4,
        fault = None, bias = -10.0, step = 1
    ):  # fmt: skip
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), neuron(), nn.AvgPool2d(2)
        )
        self.blocks = nn.Sequential(
            *(Block(width, neuron, bias if number == fault else None, step) for number in range(depth))
        )
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x):
        return self.head(self.pool(self.blocks(self.stem(x))).flatten(1))
