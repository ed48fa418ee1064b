"""Training methods by name: one base class, one registry."""

from typing import Any

from rbp_engine import private_apis
from rbp_engine.methods.bptt import BPTT, OTTT, SLTT, BPTTSingleStep
from rbp_engine.methods.loss import Distillation, Loss
from rbp_engine.methods.protocol import Method, StepOutput, reset_state
from rbp_engine.methods.rate import RateM, RateS
from rbp_engine.methods.self_distillation import SelfDistillation, WithBranches, with_branches

private_apis.require(private_apis.TRAINING)

METHODS: dict[str, Any] = {method.name: method for method in (BPTT, BPTTSingleStep, RateM, RateS, SLTT, OTTT)}

__all__ = [
    "METHODS",
    "Distillation",
    "Loss",
    "Method",
    "SelfDistillation",
    "StepOutput",
    "WithBranches",
    "create_method",
    "reset_state",
    "with_branches",
]


def create_method(name: str, timesteps: int, **settings: Any) -> Method:
    """The training method of that name.

    Settings: `precision`; `loss`, a Loss, or a function of the mean logits [B, C] and the labels that returns a scalar;
    `distill`, a Distillation; `loss_scale` of the rate methods; `reference=True` of rate_m, rate_s and bptt, for the
    slow, plain definition of their steps (`spiking/reference.py`). Raises TypeError for a setting that does
    not apply to the method, or a T that is not whole, and ValueError for a value that does not.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: one of {', '.join(METHODS)}")
    return METHODS[name](timesteps, **settings)
