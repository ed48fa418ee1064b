"""Ask for an evaluation, which a child process makes. Without torch."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rbp_engine import child
from rbp_engine.report.figure import SUFFIXES, check_path
from rbp_engine.run.launch.environment import module_command, worker_defaults
from rbp_engine.run.trust import Executable

PREDICTION_SUFFIXES = (".npz",)

Part = Literal["accuracy", "gradients", "energy", "classes", "robustness"]
#: What is saved in the run, and shown in the dashboard.
SAVED: tuple[Part, ...] = ("classes", "robustness")


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate: "accuracy" alone, or others.

    `weights` are "last" or "best", and `ema` takes their moving average. `timesteps` are those to test at, the trained
    one if empty. `figure` and `predictions` are the paths of files to write, empty for none.
    """

    parts: Sequence[Part]
    weights: str = "last"
    ema: bool = False
    device: str = "auto"
    timesteps: Sequence[int] = ()
    shuffle_time: bool = False
    figure: str = ""
    predictions: str = ""


def evaluate_run(run: Executable, request: EvaluationRequest, **settings: Any) -> dict[str, Any]:
    """The answer, a value for each part; those of SAVED are in `evaluation.json` as well, if "saved" is true.

    The settings are those of `Child`. Raises RunError, before any work is done, for a file that cannot be written, and
    ChildError, also if it was cancelled.
    """
    for path, suffixes in ((request.figure, SUFFIXES), (request.predictions, PREDICTION_SUFFIXES)):
        if path:
            check_path(Path(path), suffixes)
    command = module_command("rbp_engine.evaluation", str(run.path.resolve()), json.dumps(asdict(request)))
    return child.ask(command, worker_defaults() | os.environ, what="the evaluation", **settings)
