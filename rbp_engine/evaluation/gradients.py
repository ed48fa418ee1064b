"""How close the gradient of a trained network is to that of BPTT (the paper's Figure 3)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rbp_engine.evaluation.trained import Trained
from rbp_engine.methods import METHODS, Loss, create_method
from rbp_engine.probes.gradient_fidelity import REFERENCE, first_samples, gradient_fidelity

# Images on which gradients are compared: BPTT keeps all timesteps of them.
PROBED = 64


def compare_gradients(trained: Trained, timesteps: Sequence[int]) -> list[dict[str, Any]]:
    """The agreement of gradients with BPTT's on the first images of the test set, for each T and each other method.

    `by_weight` has for each weight layer its cosine, norm ratio and `error`, `neuron_error` the error of each neuron
    layer: how far what the rate methods assume is from the truth (`probes/assumption.py`). The loss is that of the run,
    or cross entropy if it is one at every step, which rate methods lack.
    """
    trained_with = trained.loaded.method.loss
    loss = trained_with
    if isinstance(trained_with, Loss) and trained_with.at_every_step:
        loss = Loss(label_smoothing=trained_with.label_smoothing)
    results = []
    for steps in timesteps:
        images, labels = first_samples(*next(iter(trained.feed(steps).test)), PROBED)
        for name in (method for method in METHODS if REFERENCE[method] != method):
            method = create_method(name, steps, precision=trained.precision, loss=loss)
            found = gradient_fidelity(trained.loaded.model, method, images, labels)
            by_weight = {
                layer: {**asdict(agreement), "error": found.weight_error[layer]}
                for layer, agreement in found.by_weight.items()
            }
            results.append(
                {
                    "run": trained.run.id,
                    "weights": trained.called,
                    "samples": len(labels),
                    "timesteps": steps,
                    "method": name,
                    **asdict(found.whole),
                    "by_weight": by_weight,
                    "neuron_error": found.neuron_error,
                }
            )
    return results
