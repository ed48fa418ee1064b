"""Evaluate the weights of a run: `python -m rbp_engine.evaluation RUN …`, one line of JSON on stdout.

The paper's checks of a rate code: accuracy at every t ≤ T, at another T than trained with, and with the inputs of
every layer shuffled in time (its Table 2), which a rate code survives. And of its gradient: how close it is to that of
BPTT (its Figure 3).
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rbp_engine.data.protocol import EvaluationSource
from rbp_engine.loaded import Loaded, load
from rbp_engine.methods import METHODS, create_method
from rbp_engine.methods.protocol import Precision, predict
from rbp_engine.probes.gradient_fidelity import REFERENCE, gradient_fidelity
from rbp_engine.run import trust
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking.carriers.sequence import SequenceTensor, ShuffledTensor
from rbp_engine.train.build import build_feed
from rbp_engine.train.score_sums import ScoreSums
from rbp_engine.user_code import is_own

# Images on which gradients are compared: BPTT keeps all timesteps of them.
PROBED = 64


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
    loaded = _trained(run, weights, device)
    preset = loaded.preset
    results = []
    for steps in timesteps or [preset.method.timesteps]:
        feed = build_feed(run, preset, loaded.device, steps)
        shuffle = torch.Generator().manual_seed(seed) if shuffle_time else None
        result = evaluate_by_step(loaded.model, feed.test, steps, shuffle, preset.train.precision)
        described = {"run": run.id, "weights": weights, "checkpoint": loaded.file.parent.name, "split": feed.test.split}
        results.append(described | {"timesteps": steps, "shuffled": shuffle_time} | result)
    return results


def compare_gradients(
    run: RunDirectory,
    *,
    weights: Literal["best", "last"] = "last",
    timesteps: Sequence[int] = (),
    device: str = "auto",
) -> list[dict[str, Any]]:
    """The agreement of gradients with BPTT's on the first images of the test set, for each T and each other method.

    `timesteps` are the trained one if empty. Raises as `evaluate_run` does.
    """
    loaded = _trained(run, weights, device)
    preset = loaded.preset
    results = []
    for steps in timesteps or [preset.method.timesteps]:
        images, labels = next(iter(build_feed(run, preset, loaded.device, steps).test))
        share = images[:PROBED] if images.ndim in (2, 4) else images[:, :PROBED]
        for name in (method for method in METHODS if REFERENCE[method] != method):
            method = create_method(name, steps, precision=preset.train.precision)
            found = gradient_fidelity(loaded.model, method, share, labels[:PROBED])
            described = {"run": run.id, "weights": weights, "samples": min(PROBED, len(labels)), "timesteps": steps}
            by_weight = {weight: asdict(agreement) for weight, agreement in found.by_weight.items()}
            results.append(described | {"method": name, **asdict(found.whole), "by_weight": by_weight})
    return results


def _trained(run: RunDirectory, weights: Literal["best", "last"], device: str) -> Loaded:
    """The trained network of a run whose data may be read here; code of their own makes data, too."""
    loaded = load(run.path, weights=weights, device=device)
    if is_own(loaded.preset.data.name):
        trust.require_launch(run)
    return loaded


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
    parser.add_argument("--gradients", action="store_true")
    settings = vars(parser.parse_args(words))
    try:
        # The user's own network may print.
        with contextlib.redirect_stdout(sys.stderr):
            run = RunDirectory(settings.pop("run").resolve())
            if settings.pop("gradients"):
                results = compare_gradients(
                    run, **{name: settings[name] for name in ("weights", "timesteps", "device")}
                )
            else:
                results = evaluate_run(run, **settings)
    except Exception as error:
        sys.stdout.write(json.dumps({"problem": str(error) or type(error).__name__}) + "\n")
        return 1
    sys.stdout.write(json.dumps({"results": results}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
