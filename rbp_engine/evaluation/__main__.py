"""Evaluate the weights of a run: `python -m rbp_engine.evaluation RUN …`, JSON on stdout, see `request.py`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbp_engine.child import Progress, answer
from rbp_engine.evaluation.accuracy import evaluate
from rbp_engine.evaluation.gradients import compare_gradients
from rbp_engine.evaluation.mistakes import classes_of, draw_worst
from rbp_engine.evaluation.plain import plain_pass
from rbp_engine.evaluation.predictions import write_predictions
from rbp_engine.evaluation.robustness import measure_robustness, tests_of
from rbp_engine.evaluation.trained import Trained, open_trained
from rbp_engine.evaluation.work import Work
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.evaluation_json import Evaluation, save_evaluation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.errors import CheckpointError


def evaluation(run: RunDirectory, say: Progress, asked: argparse.Namespace) -> dict[str, Any]:
    """The parts that were asked for: "accuracy" or "gradients" alone, or those of an `Evaluation`, which are saved.

    "saved" is whether they were: nothing is written into a run of another user.
    """
    say("loading the network", 0.0)
    try:
        trained, work = open_trained(run, asked.weights, asked.device, ema=asked.ema), Work(say)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    if asked.parts == ["gradients"]:
        return {"gradients": compare_gradients(trained, asked.timesteps)}
    if asked.parts == ["accuracy"]:
        work.expect(*(asked.timesteps or [trained.timesteps]))
        return {"accuracy": evaluate(trained, work, asked.timesteps, shuffle_time=asked.shuffle_time, seed=asked.seed)}
    return _parts(trained, work, asked)


def _parts(trained: Trained, work: Work, asked: argparse.Namespace) -> dict[str, Any]:
    robust = "robustness" in asked.parts
    steps = trained.timesteps if robust or not asked.timesteps else asked.timesteps[0]
    tests = tests_of(trained, asked.timesteps) if robust else []
    work.expect(steps, *(test.timesteps for test in tests))
    plain = plain_pass(trained, work, steps)
    by_class = classes_of(plain) if "classes" in asked.parts else None
    whole = Evaluation(measure_robustness(trained, plain, work, tests, asked.seed) if robust else None, by_class)
    saved = trust.is_own(trained.run)
    if saved:
        save_evaluation(trained.run, whole)
    # After what is kept in the run: a file may not be writable, or a figure too large to draw.
    if asked.predictions is not None:
        write_predictions(asked.predictions, plain.predictions)
    if by_class is not None and asked.figure is not None:
        draw_worst(plain, by_class, asked.figure)
    parts = {name: part for name, part in whole.as_json().items() if part is not None}
    return {"accuracy": [plain.scores], **parts, "saved": saved}


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.evaluation", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", nargs="+", choices=("accuracy", "gradients", "classes", "robustness"))
    parser.add_argument("--weights", choices=("last", "best"), default="last")
    parser.add_argument("--ema", action="store_true")
    parser.add_argument("--timesteps", type=int, nargs="*", default=[])
    parser.add_argument("--shuffle-time", action="store_true")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args(words)
    run = RunDirectory(asked.run.resolve())
    return answer(lambda say: evaluation(run, say, asked), run.code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
