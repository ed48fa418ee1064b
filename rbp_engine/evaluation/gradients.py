"""How close the gradient of a trained network is to that of BPTT (the paper's Figure 3)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rbp_engine.evaluation.trained import Trained
from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.gradient_fidelity import REFERENCE, gradient_fidelity

# Images on which gradients are compared: BPTT keeps all timesteps of them.
PROBED = 64


def compare_gradients(trained: Trained, timesteps: Sequence[int] = ()) -> list[dict[str, Any]]:
    """The agreement of gradients with BPTT's on the first images of the test set, for each T and each other method.

    `timesteps` are the trained one if empty.
    """
    precision = trained.loaded.preset.train.precision
    results = []
    for steps in timesteps or [trained.timesteps]:
        images, labels = next(iter(trained.feed(steps).test))
        share = images[:PROBED] if images.ndim in (2, 4) else images[:, :PROBED]
        for name in (method for method in METHODS if REFERENCE[method] != method):
            method = create_method(name, steps, precision=precision)
            found = gradient_fidelity(trained.loaded.model, method, share, labels[:PROBED])
            described: dict[str, Any] = {"run": trained.run.id, "weights": trained.weights}
            described |= {"samples": min(PROBED, len(labels)), "timesteps": steps}
            by_weight = {weight: asdict(agreement) for weight, agreement in found.by_weight.items()}
            results.append(described | {"method": name, **asdict(found.whole), "by_weight": by_weight})
    return results
