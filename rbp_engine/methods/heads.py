"""Networks that return the logits of several heads while training, and their own alone in evaluation.

GoogLeNet and Inception have auxiliary classifiers: the loss of a step is L(logits) + w·Σ L(auxiliary logits), with the
weight w of the network's paper. Heads of self-distillation add to it what `SelfDistillation` says; the loss that is
reported is the one without them, so that it can be compared with that of other runs.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from rbp_engine.methods.objective import Objective
from rbp_engine.methods.self_distillation import HeadOutputs, SelfDistillation
from rbp_engine.spiking import Carrier

C = TypeVar("C", bound=Carrier)

# By the classes of torchvision's outputs. Szegedy et al., CVPR 2015, section 5, and torchvision's own training script,
# for Inception v3.
AUXILIARY_WEIGHTS: Final = {"GoogLeNetOutputs": 0.3, "InceptionOutputs": 0.4}


@dataclass(frozen=True)
class HeadsObjective(Objective):
    """The objective of several heads side by side, [B, heads·C].

    The network's own logits come first, then the auxiliary ones, and last those of the `distilled` heads.
    """

    heads: int = 1
    auxiliary_weight: float = 0.0
    distilled: int = 0
    distillation: SelfDistillation | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        main, *others = logits.chunk(self.heads, -1)
        value = super().__call__(main)
        for other in others[: len(others) - self.distilled]:
            value = value + self.auxiliary_weight * super().__call__(other)
        return value

    def minimised(self, value: Tensor, logits: Tensor) -> Tensor:
        if self.distillation is None:
            return value
        main, *others = logits.chunk(self.heads, -1)
        return value + self.distillation(others[len(others) - self.distilled :], main, self.labels)

    def main(self, logits: Tensor) -> Tensor:
        return logits.chunk(self.heads, -1)[0]


def with_objective(output: Any, carrier: type[C], objective: Objective) -> tuple[C, Objective]:
    """The network's output in training as one carrier, and the objective for it.

    Raises TypeError unless it is the carrier that was fed in, or the outputs of a network with several heads, and
    ValueError for heads of self-distillation with a loss at every step.
    """
    own: Any = output
    distilled: tuple[Any, ...] = ()
    distillation = None
    if isinstance(output, HeadOutputs):
        own, distilled, distillation = output.network, output.heads, output.distillation
        if objective.at_every_step:
            raise ValueError(
                f"heads learn from firing rates, means over time, and the loss {objective.loss.name!r} is one of each "
                "timestep: use 'ce', 'mse' or a loss of your own"
            )
    heads = [*heads_of(own, carrier), *(carried(head, carrier) for head in distilled)]
    if len(heads) == 1:
        return heads[0], objective
    weight = AUXILIARY_WEIGHTS.get(type(own).__name__, 0.0)
    joined: C = torch.cat(heads, -1)  # type: ignore[arg-type, assignment]
    return joined, HeadsObjective(
        objective.loss,
        objective.labels,
        objective.distill,
        objective.targets,
        heads=len(heads),
        auxiliary_weight=weight,
        distilled=len(distilled),
        distillation=distillation,
    )


def heads_of(output: Any, carrier: type[C]) -> list[C]:
    """The network's own logits, then the auxiliary ones."""
    if not isinstance(output, tuple) or type(output).__name__ not in AUXILIARY_WEIGHTS:
        return [carried(output, carrier)]
    return [carried(head, carrier) for head in output if head is not None]


def main_head(output: Any, carrier: type[C]) -> C:
    """The logits among the network's outputs."""
    return heads_of(output, carrier)[0]


def carried(output: Any, carrier: type[C]) -> C:
    """The network's output; TypeError unless it is the carrier that was fed in."""
    if not isinstance(output, carrier):
        known = f" ({' and '.join(AUXILIARY_WEIGHTS)} are known)" if isinstance(output, tuple) else ""
        raise TypeError(
            f"the network returned {type(output).__name__}; it must return the logits of its last layer alone{known}"
        )
    return output
