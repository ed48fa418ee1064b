"""Networks with auxiliary classifiers, which return several logits while training, and their own alone in evaluation.

GoogLeNet and Inception do: the loss of a step is L(logits) + w·Σ L(auxiliary logits), with the weight w of the
network's paper.
"""

from dataclasses import replace
from typing import Any, Final, TypeVar

import torch

from rbp_engine.methods.objective import Extended, Objective
from rbp_engine.spiking import Carrier

C = TypeVar("C", bound=Carrier)

# By the classes of torchvision's outputs. Szegedy et al., CVPR 2015, section 5, and torchvision's own training script,
# for Inception v3.
AUXILIARY_WEIGHTS: Final = {"GoogLeNetOutputs": 0.3, "InceptionOutputs": 0.4}


def with_objective(output: Any, carrier: type[C], objective: Objective) -> tuple[C, Objective]:
    """The network's output in training as one carrier [B, …], its classifiers side by side, and the objective for it.

    Raises TypeError unless it is the carrier that was fed in, or the outputs of a network with several classifiers.
    """
    if isinstance(output, Extended):
        objective, output = replace(objective, extension=output.extension), output.output
    heads = heads_of(output, carrier)
    if len(heads) == 1:
        return heads[0], objective
    weight = AUXILIARY_WEIGHTS[type(output).__name__]
    joined: C = torch.cat(heads, -1)  # type: ignore[arg-type, assignment]
    return joined, replace(objective, classifiers=len(heads), auxiliary_weight=weight)


def heads_of(output: Any, carrier: type[C]) -> list[C]:
    """The network's own logits, then the auxiliary ones; TypeError unless they are the carrier that was fed in."""
    several = isinstance(output, tuple) and type(output).__name__ in AUXILIARY_WEIGHTS
    heads = [head for head in output if head is not None] if several else [output]
    for head in heads:
        if not isinstance(head, carrier):
            known = f" ({' and '.join(AUXILIARY_WEIGHTS)} are known)" if isinstance(head, tuple) else ""
            raise TypeError(
                f"the network returned {type(head).__name__}; it must return the logits of its last layer alone{known}"
            )
    return heads


def main_head(output: Any, carrier: type[C]) -> C:
    """The logits among the network's outputs."""
    return heads_of(output, carrier)[0]
