"""Optimizers."""

import inspect
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)
# The methods that torch wraps to opt out of torch.compile.
_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")


def create_optimizer(
    model: nn.Module, name: str, *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW; weights of convolutions and linear layers decay, batch norm and biases do not.

    Only SGD uses `momentum`.
    """
    decaying: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in model.modules():
        for key, parameter in module.named_parameters(recurse=False):
            exempt = key == "bias" or isinstance(module, _BatchNorm)
            (others if exempt else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        # On a CPU the fused step first copies every channels-last gradient; the unfused one takes 0.6 of its time.
        fused = (decaying + others)[0].device.type != "cpu"
        return _without_compiler(torch.optim.SGD)(groups, lr=lr, momentum=momentum, fused=fused)
    if name == "adam":
        return _without_compiler(torch.optim.Adam)(groups, lr=lr, fused=True)
    if name == "adamw":
        return _without_compiler(torch.optim.AdamW)(groups, lr=lr, fused=True)
    raise ValueError(f"unknown optimizer {name!r}: one of sgd, adam, adamw")


def _without_compiler(optimizer: type[Optimizer]) -> type[Optimizer]:
    """The optimizer class without the wrappers by which its methods opt out of torch.compile.

    The wrappers import the compiler, which takes as long as all other imports. No optimizer is compiled here.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in _WRAPPED}
    return type(optimizer.__name__, (optimizer,), methods | {"step": torch.no_grad()(methods["step"])})


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a saved state, but keep this optimizer's choice of fused steps, which depends on its device."""
    fused = [group["fused"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, as_made in zip(optimizer.param_groups, fused, strict=True):
        group["fused"] = as_made


def begin_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Initialise SGD's momenta to 0 now, which changes no step.

    torch creates them in the first step, and leaves them uninitialised if that step is skipped, as in fp16 it may be.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
