"""What the families share: how they are given neurons, and their initial weights."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)
Neuron = Callable[[], nn.Module]


def initialised(model: Model, init: str, *, normal_deviation: float | None = None) -> Model:
    """The model itself, with its initial weights set.

    "kaiming": He-normal by fan-out for convolutions, by fan-in for linear layers, zero biases.
    "paper": the initial weights of the paper's networks. The VGGs draw convolutions and linear layers from
    N(0, `normal_deviation`²); if a family gives no deviation, torch's own initialisation is kept.
    """
    if init not in ("kaiming", "paper"):
        raise ValueError(f"init is 'kaiming' or 'paper', got {init!r}")
    for module in model.modules():
        if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            continue
        if init == "kaiming":
            linear = isinstance(module, nn.Linear)
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if linear else "fan_out", nonlinearity="relu")
        elif normal_deviation is not None:
            nn.init.normal_(module.weight, 0.0, normal_deviation)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return model
