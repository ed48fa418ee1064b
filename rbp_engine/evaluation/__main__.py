"""Evaluate the weights of a run: `python -m rbp_engine.evaluation RUN REQUEST`, an `EvaluationRequest` as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from rbp_engine.child import Progress, answer
from rbp_engine.data.catalog import CATALOG
from rbp_engine.evaluation.classes import classes_of, draw_worst, write_predictions
from rbp_engine.evaluation.energy import energy_of
from rbp_engine.evaluation.gradients import compare_gradients
from rbp_engine.evaluation.request import EvaluationRequest
from rbp_engine.evaluation.robustness import measure_robustness, planned
from rbp_engine.evaluation.trained import Trained, plain_pass, shuffled
from rbp_engine.methods.protocol import MakeCarrier
from rbp_engine.run import trust
from rbp_engine.run.files.evaluation_json import Evaluation, save_evaluation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking.carriers.sequence import SequenceTensor


def evaluation(run: RunDirectory, asked: EvaluationRequest, progress: Progress) -> dict[str, Any]:
    """The parts that were asked for; "saved" is whether they were: nothing is written into a run of another user."""
    trained = Trained(run, asked, progress)
    steps = asked.timesteps or [trained.timesteps]
    if asked.parts == ["gradients"]:
        return {"gradients": compare_gradients(trained, steps)}
    if asked.parts == ["energy"]:
        return {"energy": energy_of(trained)}
    if asked.parts == ["accuracy"]:
        trained.expected = sum(steps)
        results = []
        for one in steps:
            carrier: MakeCarrier = shuffled() if asked.shuffle_time else SequenceTensor
            results.append(trained.evaluate(trained.feed(one).test, one, carrier=carrier))
        return {"accuracy": results}
    robust = "robustness" in asked.parts
    data_set = CATALOG.get(trained.loaded.preset.data.name)
    one_t = data_set is not None and data_set.has_one_t
    tests = planned(trained.timesteps, asked.timesteps, one_t=one_t) if robust else []
    first = trained.timesteps if robust else steps[0]
    trained.expected = first + sum(test.timesteps for test in tests)
    plain = plain_pass(trained, first)
    by_class = classes_of(plain) if "classes" in asked.parts else None
    whole = Evaluation(measure_robustness(trained, plain, tests) if robust else None, by_class)
    saved = trust.is_own(run)
    if saved:
        save_evaluation(run, whole)
    # After what is kept in the run: a file may not be writable, or a figure too large to draw.
    if asked.predictions:
        write_predictions(Path(asked.predictions), plain)
    if by_class is not None and asked.figure:
        draw_worst(plain, by_class, Path(asked.figure))
    parts = {name: part for name, part in whole.as_json().items() if part is not None}
    return {"accuracy": [plain.scores], **parts, "saved": saved}


if __name__ == "__main__":
    directory, request = RunDirectory(Path(sys.argv[1])), EvaluationRequest(**json.loads(sys.argv[2]))
    sys.exit(answer(lambda progress: evaluation(directory, request, progress), directory.code))
