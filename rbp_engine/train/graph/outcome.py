"""What a training step leaves behind, and by how much a replay of it differs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.methods import StepOutput
from rbp_engine.methods.protocol import Precision
from rbp_engine.train.step import OptimizerStep

# A replay runs the same kernels on the same numbers, so most results are the same bits. Kernels that add with atomics
# add in another order each time, and a sum that differs in float32's last place can be rounded to the other neighbour
# of the format in which convolutions multiply: 10 bits of mantissa in TF32 and fp16, 7 in bf16. Four such places are
# allowed. What a graph can get wrong, as a dropout mask, a rate or an input that is not today's, is of the order of 1.
TOLERANCE: Mapping[Precision, float] = {"fp32": 4 * 2.0**-10, "fp16": 4 * 2.0**-10, "bf16": 4 * 2.0**-7}
# A tensor whose gradient is a sum that cancels, as of a bias in front of a batch norm, is noise. Its error is compared
# with at least this share of the norm of all gradients.
NEGLIGIBLE = 0.01
# What float32 cannot tell of a number that a step changes by less.
ROUNDING = 2.0**-22


@dataclass(frozen=True)
class State:
    """What a step changes in place: tensors by name, and the loss scale of fp16, which is empty elsewhere."""

    tensors: dict[str, Tensor]
    scale: dict[str, Any]

    @classmethod
    def copied(cls, step: OptimizerStep) -> Self:
        """The state now; waits for the device in fp16."""
        return cls({name: tensor.clone() for name, tensor in step.state().items()}, step.scaler.state_dict())

    @torch.no_grad()
    def put_back(self, step: OptimizerStep) -> None:
        """Give the step this state again."""
        for name, tensor in step.state().items():
            tensor.copy_(self.tensors[name])
        if self.scale:
            step.scaler.load_state_dict(self.scale)


@dataclass(frozen=True)
class Outcome:
    """The loss of a step, its gradients by parameter, and the state after it."""

    loss: Tensor
    gradients: dict[str, Tensor]
    after: State

    @classmethod
    def copied(cls, step: OptimizerStep, out: StepOutput) -> Self:
        """That of the step just taken."""
        gradients = {name: gradient.clone() for name, gradient in step.gradients().items()}
        return cls(out.loss.clone(), gradients, State.copied(step))

    def is_finite(self) -> bool:
        """Whether all gradients are; waits for the device. With several processes the answer is the same on all."""
        return bool(torch.stack([gradient.isfinite().all() for gradient in self.gradients.values()]).all())


@torch.no_grad()
def difference(found: Outcome, expected: Outcome, before: State, precision: Precision) -> str:
    """What differs most between two outcomes of a step from the state `before`; "" if that is within TOLERANCE.

    Gradients are compared by their norms, and the state by how far the step has moved it. Waits for the device.
    """
    if found.gradients.keys() != expected.gradients.keys():
        return "there are gradients of other parameters"
    if found.after.scale != expected.after.scale:
        return "the loss scale is another"
    errors = {"the loss": (_norm(found.loss - expected.loss), _norm(expected.loss))}
    if expected.gradients:
        norms = {name: _norm(gradient) for name, gradient in expected.gradients.items()}
        least = NEGLIGIBLE * torch.stack(list(norms.values())).norm()
        for name, norm in norms.items():
            error = _norm(found.gradients[name] - expected.gradients[name])
            errors[f"the gradient of {name}"] = error, torch.maximum(norm, least)
    tolerance = TOLERANCE[precision]
    for name, tensor in expected.after.tensors.items():
        start = before.tensors[name]
        moved = _norm(tensor.double() - start.double())
        error = _norm(found.after.tensors[name].double() - tensor.double())
        errors[f"the new {name}"] = error, moved + ROUNDING / tolerance * _norm(start)
    sizes = torch.stack([number for pair in errors.values() for number in pair]).view(-1, 2).tolist()
    # A NaN is no number that is within the tolerance.
    wrong = {
        name: error / size if size else float("inf")
        for name, (error, size) in zip(errors, sizes, strict=True)
        if not error <= tolerance * size
    }
    if not wrong:
        return ""
    name = next(iter(wrong))
    return f"{name} differs by {100.0 * wrong[name]:.2g} %" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")


def _norm(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values.double())
    return norm
