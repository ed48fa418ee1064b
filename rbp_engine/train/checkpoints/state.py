"""What is trained: everything that a step changes, and a checkpoint keeps."""

import torch
from torch import nn

from rbp_engine.methods import Method, WithBranches
from rbp_engine.train.moving_average import MovingAverage
from rbp_engine.train.optimisation import begin_momenta


class State:
    """A network, the method and the optimizer that train it, and what is kept beside its weights.

    `branches` is the same network with branches, to be trained in its place. `average` is the moving average of the
    weights with the decay `ema`, None if that is 0. If the method computes in fp16, `scaler` keeps small gradients from
    becoming 0.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimizer: torch.optim.Optimizer,
        *,
        branches: WithBranches | None = None,
        ema: float = 0.0,
    ) -> None:
        self.model = model
        self.method = method
        self.optimizer = optimizer
        self.branches = branches
        self.trained = model if branches is None else branches
        self.average = MovingAverage(model, ema) if ema else None
        self.scaler = torch.amp.GradScaler(next(model.parameters()).device.type, enabled=method.precision == "fp16")
        if self.scaler.is_enabled():
            begin_momenta(optimizer)
