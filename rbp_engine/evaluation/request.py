"""Ask for an evaluation, which runs in a separate process. Without torch."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rbp_engine import child
from rbp_engine.child import Progress, no_progress
from rbp_engine.report.figure import check_path
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch.environment import module_command, worker_defaults

PREDICTION_SUFFIXES = (".npz", ".csv")

Part = Literal["accuracy", "gradients", "classes", "robustness"]
#: What is saved in the run, and shown in the dashboard.
SAVED: tuple[Part, ...] = ("classes", "robustness")


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate: "accuracy" or "gradients" alone, or parts of SAVED.

    `ema` takes the moving average of the weights. `timesteps` are those to test at, the trained one if empty. `figure`
    and `predictions` are files to write.
    """

    parts: Sequence[Part]
    weights: str = "last"
    ema: bool = False
    device: str = "auto"
    timesteps: Sequence[int] = ()
    shuffle_time: bool = False
    figure: Path | None = None
    predictions: Path | None = None

    def check(self) -> None:
        """Raise RunError, before any work is done, if one of the files cannot be written."""
        if self.figure is not None:
            check_path(self.figure)
        if self.predictions is not None:
            _check_predictions(self.predictions)

    def words(self) -> list[str]:
        """The words for the command line of `rbp_engine.evaluation`."""
        found = ["--parts", *self.parts, "--weights", self.weights, "--device", self.device]
        found += ["--timesteps", *map(str, self.timesteps)] if self.timesteps else []
        found += ["--ema"] if self.ema else []
        found += ["--shuffle-time"] if self.shuffle_time else []
        found += ["--figure", str(self.figure.absolute())] if self.figure else []
        return found + (["--predictions", str(self.predictions.absolute())] if self.predictions else [])


def _check_predictions(path: Path) -> None:
    if path.suffix.lower() not in PREDICTION_SUFFIXES:
        listed = " or ".join(PREDICTION_SUFFIXES)
        raise RunError(f"cannot write predictions to {path.name!r}: its name must end in {listed}")
    if not path.parent.is_dir():
        raise RunError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise RunError(f"cannot write {path}: it is a folder")


def evaluate_run(
    run: RunDirectory,
    request: EvaluationRequest,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    on_progress: Progress = no_progress,
) -> dict[str, Any]:
    """The answer, a value for each part; those of SAVED are in `evaluation.json` as well, if "saved" is true.

    The parameters are those of `child.Child`. Raises RunError for a file that cannot be written, and
    ChildError, also if it was cancelled.
    """
    request.check()
    command = module_command("rbp_engine.evaluation", str(run.path.resolve()), *request.words())
    return child.ask(
        command,
        worker_defaults() | os.environ,
        what="the evaluation",
        cancelled=cancelled,
        quiet=quiet,
        on_progress=on_progress,
    )
