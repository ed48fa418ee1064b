"""Make the operations fewer: batch norms and uneven poolings become part of the weights beside them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from rbp_engine.export.operations import (
    AdaptivePool,
    ChannelMap,
    Convolution,
    Flattening,
    LinearMap,
    Operation,
    leading_to,
)


@dataclass(frozen=True)
class Folded:
    """The operations that are left, and the paths of those that were folded."""

    operations: list[Operation]
    batch_norms: list[str]
    poolings: list[str]


def fold(operations: Sequence[Operation]) -> Folded:
    """Fold each batch norm into the convolution or linear layer before it, each uneven pooling into a linear layer.

    A layer whose result goes elsewhere, too, keeps its weights; then the batch norm stays. Weights that change are
    computed in float64.
    """
    uses = Counter(source for operation in operations for source in operation.inputs)
    now: dict[Operation, Operation] = {}
    ordered: list[Operation] = []
    batch_norms, poolings = [], []
    for operation in operations:
        alone = all(uses[source] == 1 for source in operation.inputs)
        moved = replace(operation, inputs=tuple(now[source] for source in operation.inputs))
        before = moved.inputs[0] if moved.inputs else None
        if isinstance(moved, ChannelMap) and isinstance(before, (Convolution, LinearMap)) and alone:
            moved = _with_batch_norm(before, moved)
            batch_norms.append(operation.path)
        elif isinstance(moved, LinearMap) and isinstance(before, Flattening) and alone:
            pool = before.inputs[0]
            if isinstance(pool, AdaptivePool) and uses[operation.inputs[0].inputs[0]] == 1:
                moved, flat = _with_pooling(moved, before, pool)
                ordered.append(flat)
                poolings.append(pool.path)
        now[operation] = moved
        ordered.append(moved)
    return Folded(leading_to(ordered[-1], ordered), batch_norms, poolings)


def _with_batch_norm(layer: Convolution | LinearMap, norm: ChannelMap) -> Convolution | LinearMap:
    """scale·(W x + b) + shift."""
    scale = norm.scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = norm.shift if layer.bias is None else norm.scale * layer.bias + norm.shift
    return replace(layer, weight=layer.weight * scale, bias=bias)


def _with_pooling(layer: LinearMap, flattening: Flattening, pool: AdaptivePool) -> tuple[LinearMap, Flattening]:
    """W·(rows ⊗ columns), on what the pooling received, and that flattened."""
    weight = layer.weight.double().unflatten(1, pool.shape)
    weight = torch.einsum("nchw,hi,wj->ncij", weight, pool.rows, pool.columns).flatten(1)
    flat = replace(flattening, inputs=pool.inputs, shape=(weight.shape[1],))
    return replace(layer, inputs=(flat,), weight=weight), flat
