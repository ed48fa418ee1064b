"""Evaluate the weights of a run: `python -m rbp_engine.evaluation RUN …`, one line of JSON on stdout.

The paper's checks of a rate code: accuracy at every t ≤ T, at another T than trained with, and with the inputs of
every layer shuffled in time (its Table 2), which a rate code survives.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rbp_engine.data.protocol import EvaluationSource
from rbp_engine.loaded import load
from rbp_engine.methods.protocol import Precision, predict
from rbp_engine.run import trust
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking.carriers.sequence import SequenceTensor, ShuffledTensor
from rbp_engine.train.build import build_feed
from rbp_engine.train.score_sums import ScoreSums
from rbp_engine.user_code import is_own


def evaluate_run(
    run: RunDirectory,
    *,
    weights: Literal["best", "last"] = "last",
    timesteps: Sequence[int] = (),
    shuffle_time: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Evaluate on the test set, once for each T of `timesteps` (the trained one if empty).

    `weights` is "last" or "best". Each result has top1, top5, loss (of the logits' time mean), samples, and
    `top1_by_step`: the accuracy of the mean over the first t steps, t = 1 … T. Raises CheckpointError, and
    Untrusted for code that this user has not launched.
    """
    loaded = load(run.path, weights=weights, device=device)
    preset = loaded.preset
    if is_own(preset.data.name):
        trust.require_launch(run)
    results = []
    for steps in timesteps or [preset.method.timesteps]:
        feed = build_feed(run, preset, loaded.device, steps)
        shuffle = torch.Generator().manual_seed(seed) if shuffle_time else None
        result = evaluate_by_step(loaded.model, feed.test, steps, shuffle, preset.train.precision)
        described = {"run": run.id, "weights": weights, "checkpoint": loaded.file.parent.name, "split": feed.test.split}
        results.append(described | {"timesteps": steps, "shuffled": shuffle_time} | result)
    return results


@torch.no_grad()
def evaluate_by_step(
    model: nn.Module,
    batches: EvaluationSource,
    timesteps: int,
    shuffle: torch.Generator | None,
    precision: Precision = "fp32",
) -> dict[str, Any]:
    """Loss, top-1 and top-5 over all samples, and top-1 after each timestep; `shuffle` draws the order of timesteps."""
    scores = ScoreSums(timesteps)
    for images, labels in batches:
        carrier = _shuffled(shuffle) if shuffle else SequenceTensor
        scores.add(predict(model, images, timesteps, precision, carrier), labels)
    if not scores.samples:
        raise ValueError("there are no images to evaluate on")
    loss, top1, top5, *by_step = (total / scores.samples for total in scores.sums())
    return {"top1": top1, "top5": top5, "loss": loss, "samples": scores.samples, "top1_by_step": by_step}


def _shuffled(generator: torch.Generator) -> Any:
    def make(values: Tensor, timesteps: int, static: bool) -> ShuffledTensor:
        return ShuffledTensor(values, timesteps, static, generator).shuffled()

    return make


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.evaluation", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", choices=("last", "best"), default="last")
    parser.add_argument("--timesteps", type=int, nargs="*", default=[])
    parser.add_argument("--shuffle-time", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    settings = vars(parser.parse_args(words))
    try:
        # The user's own network may print.
        with contextlib.redirect_stdout(sys.stderr):
            results = evaluate_run(RunDirectory(settings.pop("run").resolve()), **settings)
    except Exception as error:
        sys.stdout.write(json.dumps({"problem": str(error) or type(error).__name__}) + "\n")
        return 1
    sys.stdout.write(json.dumps({"results": results}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
