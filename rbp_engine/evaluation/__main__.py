"""Evaluate the weights of a run: `python -m rbp_engine.evaluation RUN REQUEST`, an `EvaluationRequest` as JSON."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rbp_engine.child import Progress, answer
from rbp_engine.data.catalog import CATALOG
from rbp_engine.evaluation.classes import classes_of, draw_worst, write_predictions
from rbp_engine.evaluation.evaluation_request import SAVED, EvaluationRequest
from rbp_engine.evaluation.robustness import measure_robustness, planned
from rbp_engine.evaluation.trained import Trained, plain_pass
from rbp_engine.methods import METHODS, Loss, create_method
from rbp_engine.probes.energy import measure_energy
from rbp_engine.probes.gradient_fidelity import REFERENCE, gradient_fidelity, probe_batch
from rbp_engine.probes.layers import names_for_people
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.energy import write_energy
from rbp_engine.run.files.evaluation_json import Evaluation, save_evaluation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.checkpoints import checkpoint


def compare_gradients(trained: Trained, timesteps: Sequence[int]) -> list[dict[str, Any]]:
    """The agreement of gradients with BPTT's on the first images of the test set, for each T and each other method.

    `by_weight` has the cosine, norm ratio and `error` of each weight layer, `neuron_error` the error of each neuron
    layer: how far the assumption of the rate methods is from the truth (`probes/assumption.py`). The loss is that of
    the run, or cross entropy if it is one at every step, which rate methods lack.
    """
    loss = trained.loaded.method.loss
    if isinstance(loss, Loss) and loss.at_every_step:
        loss = Loss(label_smoothing=loss.label_smoothing)
    results = []
    for steps in timesteps:
        batch = probe_batch(trained.feed(steps).test, trained.loaded.preset.probes.gradients_images)
        if batch is None:
            raise RunError("the test set has no images to compare gradients on")
        images, labels = batch
        for name in (method for method in METHODS if REFERENCE[method] != method):
            method = create_method(name, steps, precision=trained.precision, loss=loss)
            fidelity = gradient_fidelity(trained.loaded.model, method, images, labels)
            weights = names_for_people(trained.loaded.model, fidelity.by_weight)
            neurons = names_for_people(trained.loaded.model, fidelity.neuron_error)
            by_weight = {
                weights[layer]: {**asdict(agreement), "error": fidelity.weight_error[layer]}
                for layer, agreement in fidelity.by_weight.items()
            }
            results.append(
                {
                    "run": trained.run.id,
                    "weights": trained.called,
                    "samples": len(labels),
                    "timesteps": steps,
                    "method": name,
                    **asdict(fidelity.whole),
                    "by_weight": by_weight,
                    "neuron_error": {neurons[layer]: error for layer, error in fidelity.neuron_error.items()},
                }
            )
    return results


def energy_of(trained: Trained) -> dict[str, Any]:
    """Measure the network on the first images of its test set, and keep the result in the run's `energy.json`.

    Returns it as JSON, with `kept` "" or the reason why it was not written.
    """
    images, _ = next(iter(trained.feed(trained.timesteps).test))
    step = checkpoint.verify(trained.loaded.file.parent).progress.step
    energy = replace(measure_energy(trained.loaded.model, images, trained.timesteps), step=step)
    kept = "" if trust.is_own(trained.run) else "it is another user's"
    try:
        if not kept:
            write_energy(trained.run, energy)
    except OSError as error:
        kept = error.strerror or str(error)
    return {"run": trained.run.id, "weights": trained.called} | energy.as_json() | {"kept": kept}


def evaluation(run: RunDirectory, request: EvaluationRequest, progress: Progress) -> dict[str, Any]:
    """The requested parts.

    "kept" is "" or the reason why they are not kept in the run, and "unwritten" has the same for each file: the answer
    has what was measured in any case. Nothing is written into a run of another user.
    """
    trained = Trained(run, request, progress)
    steps = request.timesteps or [trained.timesteps]
    alone: dict[str, Any] = {}
    if "gradients" in request.parts:
        alone["gradients"] = compare_gradients(trained, steps)
    if "energy" in request.parts:
        alone["energy"] = energy_of(trained)
    if alone and not {*request.parts} & {*SAVED}:
        return alone
    if request.parts == ["accuracy"]:
        trained.expected = sum(steps)
        results = [trained.evaluate(trained.feed(t).test, t, shuffle=request.shuffle_time) for t in steps]
        return {"accuracy": results}
    robust = "robustness" in request.parts
    data_set = CATALOG.get(trained.loaded.preset.data.name)
    one_t = data_set is not None and data_set.has_one_t
    tests = planned(trained.timesteps, request.timesteps, one_t=one_t) if robust else []
    first = trained.timesteps if robust else steps[0]
    trained.expected = first + sum(test.timesteps for test in tests)
    plain = plain_pass(trained, first)
    by_class = classes_of(plain) if "classes" in request.parts else None
    whole = Evaluation(measure_robustness(trained, plain, tests) if robust else None, by_class)
    kept = _problem(save_evaluation, run, whole) if trust.is_own(run) else "it is another user's"
    unwritten = {}
    if request.predictions:
        unwritten["predictions"] = _problem(write_predictions, Path(request.predictions), plain)
    if by_class is not None and request.figure:
        unwritten["figure"] = _problem(draw_worst, plain, by_class, Path(request.figure))
    parts = {name: part for name, part in whole.as_json().items() if part is not None}
    return alone | {"accuracy": [plain.scores], **parts, "saved": not kept, "kept": kept, "unwritten": unwritten}


def _problem(write: Callable[..., None], *what: Any) -> str:
    """Write, and return why that failed; empty if it did not."""
    try:
        write(*what)
    except RunError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    directory, request = RunDirectory(Path(sys.argv[1])), EvaluationRequest(**json.loads(sys.argv[2]))
    sys.exit(answer(lambda progress: evaluation(directory, request, progress), directory.code))
