"""Optimizers."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from rbp_engine.errors import SettingsError
from rbp_engine.printable import one_line
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.spiking import LIF, OwnNeuron

Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)
# Batch and instance norms, and those over the channels of a sample.
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
NEURONS = (LIF, OwnNeuron)
# The key of a parameter group with its factor of the learning rate; groups without it have the rate itself.
FACTOR = "lr_factor"
# The methods that torch wraps to opt out of torch.compile.
_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")


def create_optimizer(
    model: nn.Module,
    name: str,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    decay_norms: bool = False,
    lr_factors: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW; weights of convolutions and linear layers decay, and norms and biases with `decay_norms`.

    What a neuron learns never decays: it would be drawn towards λ = 1/2 and V_th = 1. Only SGD uses `momentum`.
    `lr_factors` multiply the rate of a module with everything inside it, or of a parameter, by its path in the network;
    the longest path counts. Raises SettingsError for a path that names nothing.
    """
    factors = _Factors(lr_factors or {})
    parameters = [
        group | ({"lr": lr * group[FACTOR]} if FACTOR in group else {})
        for group in _groups(model, factors, weight_decay, decay_norms=decay_norms)
    ]
    factors.check(model)
    if name == "sgd":
        # On a CPU the fused step first copies every channels-last gradient; the unfused one takes 0.6 of its time.
        fused = next(model.parameters()).device.type != "cpu"
        return _without_compiler(torch.optim.SGD)(parameters, lr=lr, momentum=momentum, fused=fused)
    if name == "adam":
        return _without_compiler(torch.optim.Adam)(parameters, lr=lr, fused=True)
    if name == "adamw":
        return _without_compiler(torch.optim.AdamW)(parameters, lr=lr, fused=True)
    raise ValueError(f"unknown optimizer {name!r}: one of sgd, adam, adamw")


def add_branches(
    optimizer: torch.optim.Optimizer, branches: nn.Module, *, weight_decay: float = 0.0, decay_norms: bool = False
) -> None:
    """Train branches by the optimizer of their network, at its learning rate and with its rule of weight decay."""
    for group in _groups(branches, _Factors({}), weight_decay, decay_norms=decay_norms):
        optimizer.add_param_group(group)


def _groups(model: nn.Module, factors: "_Factors", weight_decay: float, *, decay_norms: bool) -> list[dict[str, Any]]:
    """The parameters by the factor of their rate and by whether they decay; the decaying ones come first."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    of_neurons = {weight for module in model.modules() if isinstance(module, NEURONS) for weight in module.parameters()}
    seen = set[nn.Parameter]()
    for path, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            if parameter in seen:  # two modules share it
                continue
            seen.add(parameter)
            spared = not decay_norms and ("bias" in key or isinstance(module, NORMS))
            factor = factors.of(f"{path}.{key}" if path else key)
            groups.setdefault((factor, spared or parameter in of_neurons), []).append(parameter)
    return [
        {"params": params, "weight_decay": 0.0 if exempt else weight_decay}
        | ({FACTOR: factor} if factor != 1.0 else {})
        for (factor, exempt), params in sorted(groups.items(), key=lambda item: (item[0][0] != 1.0, *item[0]))
    ]


class _Factors:
    """The factors of learning rates by path."""

    def __init__(self, factors: Mapping[str, float]) -> None:
        self.factors = factors
        self._used: set[str] = set()

    def of(self, path: str) -> float:
        """The factor of a parameter."""
        matching = [name for name in self.factors if path == name or path.startswith(f"{name}.")]
        self._used.update(matching)
        return self.factors[max(matching, key=len)] if matching else 1.0

    def check(self, model: nn.Module) -> None:
        """Raise SettingsError for a path that has no parameter."""
        for name in self.factors:
            if name not in self._used:
                paths = [path for path, _ in (*model.named_modules(), *model.named_parameters()) if path]
                parts = one_line(", ".join(part for part, _ in model.named_children()))
                raise SettingsError(
                    f"optim.lr_factors names '{one_line(name)}', and the network has no parameter there."
                    f"{did_you_mean(name, paths)} Its parts: {parts}"
                )


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
    """Set the rate, multiplied by the factor of each group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(FACTOR, 1.0)
