"""`rbp_engine.load`: a trained network from a run, a checkpoint or a file, with all that is needed to use it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rbp_engine.data.preprocess import Preprocess
from rbp_engine.methods import Method
from rbp_engine.preset import read_resolved
from rbp_engine.preset.schema import Preset
from rbp_engine.run.errors import NoSuchRun, RunError
from rbp_engine.run.files.event_reader import announced_checkpoint
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import find_run
from rbp_engine.run.trust import Untrusted, require_code
from rbp_engine.settings.machine import runs_directory
from rbp_engine.train.build import build_method, build_network, choose_kernel
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import AVERAGED, WEIGHTS
from rbp_engine.train.checkpoints.recipe import Recipe, read_recipe
from rbp_engine.train.device import choose_device
from rbp_engine.train.errors import CheckpointError
from rbp_engine.user_code import is_own

Weights = Literal["best", "last"]


@dataclass(frozen=True)
class Loaded:
    """A trained network.

    `model` has its weights and neuron settings and is in evaluation mode, `method` has the run's T and precision,
    `preprocess` makes the network's input from raw images, and `classes` is their number. `preset` has all settings of
    the run. `file` holds the weights; `run` is None for a file outside a run.
    """

    model: nn.Module
    method: Method
    preprocess: Preprocess
    classes: int
    preset: Preset
    device: torch.device
    file: Path
    run: RunDirectory | None

    def predict(self, images: Any) -> Tensor:
        """Logits [B, C] of raw images, the mean over the T timesteps, on `device`.

        Images [B, C, H, W] are uint8 of 0 to 255, or floats of 0 to 1; a list of PIL images serves as well. A network
        that was trained on events takes the counts of its frames, [T, B, C, H, W]. Any number of images is taken, in
        batches of the run's size, and each begins from rest. Raises ValueError for anything else.
        """
        samples = self.preprocess.raw(images)
        batch_dimension = 1 if self.preprocess.has_time else 0
        batches = samples.split(self.preset.data.batch_size, batch_dimension)
        logits = [self._logits(batch) for batch in batches]
        return torch.cat(logits)

    def _logits(self, raw: Tensor) -> Tensor:
        inputs = self.preprocess(raw.to(self.device))
        return self.method.predict(self.model, inputs, time=self.preprocess.has_time).mean(0)


def load(
    source: str | Path,
    *,
    weights: Weights = "best",
    ema: bool = False,
    device: str | torch.device = "auto",
    trust: bool = False,
    runs_dir: str | Path | None = None,
) -> Loaded:
    """Load a trained network.

    `source` is a run, named as in commands (an id, a unique prefix, its last four characters, a name, or "last") and
    looked for in `runs_dir`, by default the runs directory of the commands; or the path of a run's folder, of a
    checkpoint, or of a file of weights that rbp wrote. A text with a slash is a path, and so is one that ends in
    .safetensors. `weights` says which weights of a run, and `ema` takes their moving average
    (train.ema), which is in the same checkpoint. `device` is "auto", "cpu", "cuda" or "cuda:N", or
    a `torch.device` of these.

    A run with code that you have not launched yourself, as its author's own network, data set or loss, is loaded only
    with `trust`.

    Raises NoSuchRun, other RunErrors, and PresetError for a run that is not there or cannot be used; CheckpointError if
    there are no weights yet, or they are damaged or of another network; DeviceError.
    """
    if weights not in ("best", "last"):
        raise ValueError(f"weights are 'best' or 'last', got {weights!r}")
    file, run = _find(source, weights, Path(runs_dir) if runs_dir is not None else None)
    file = _averaged(file) if ema else file
    where = choose_device(str(device))
    if run is not None:
        _require_code(run, trust=trust)
    recipe = _recipe(file, run)
    preset, code = recipe.preset, run.code if run is not None else None
    own = [name for name in (preset.model.name, preset.neuron.name, preset.neuron.surrogate) if is_own(name)]
    if run is None and own:
        raise CheckpointError(
            f"{file} is of {own[0]}, code of its author's own, which is kept in the run: load the folder of the run"
        )
    model = build_network(
        preset,
        classes=recipe.classes,
        channels=recipe.preprocess.channels,
        code=code or Path(),
        kernel=choose_kernel(preset, 0, where)[0],
        device=where,
    )
    checkpoint.load_weights_file(file, _called(file, run), model)
    return Loaded(model.eval(), build_method(preset, code), recipe.preprocess, recipe.classes, preset, where, file, run)


def _find(source: str | Path, weights: Weights, runs_dir: Path | None) -> tuple[Path, RunDirectory | None]:
    """The file of weights, and its run if it is in one."""
    if isinstance(source, str) and "/" not in source and not source.endswith(".safetensors"):
        try:
            run = find_run(runs_directory(runs_dir), source)
        except NoSuchRun as error:
            hint = f"; for what is called so here, say './{source}'" if Path(source).exists() else ""
            raise NoSuchRun(f"{error}{hint}") from None
        return _weights_of(run, weights), run
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise CheckpointError(f"there is no {path}: expected a run's folder, a checkpoint or a file of weights")
    if (path / "run.json").is_file():
        run = RunDirectory(path)
        return _weights_of(run, weights), run
    folder, file = (path, path / WEIGHTS) if path.is_dir() else (path.parent, path)
    if (folder / "manifest.json").is_file():
        checkpoint.verify(folder)
    elif path.is_dir():
        raise CheckpointError(f"{path} is neither a run nor a checkpoint: it has no run.json and no manifest.json")
    return file, _run_around(folder)


def _weights_of(run: RunDirectory, weights: Weights) -> Path:
    """The file with the best or last weights of a run. Raises CheckpointError if there is none that can be used."""
    skipped: list[str] = []
    if weights == "best":
        found = checkpoint.find_best(run.checkpoints)
        if found is None and run.best.exists():
            skipped = [_problem(run.best)]
    else:
        found, skipped = checkpoint.find_newest(run.checkpoints, announced_checkpoint(run))
    if found is None:
        why = f": {skipped[0]}" if skipped else " yet"
        others = "; the best ones are there (--weights best)" if weights == "last" and run.best.exists() else ""
        raise CheckpointError(f"{run.id} has no checkpoint of its {weights} weights{why}{others}")
    return found.path / WEIGHTS


def _averaged(file: Path) -> Path:
    """The moving average beside a file of weights. Raises CheckpointError if there is none."""
    average = file.with_name(AVERAGED)
    if file.name != WEIGHTS or not average.is_file():
        raise CheckpointError(f"there is no moving average of {file}: it is kept by runs with train.ema above 0")
    return average


def _problem(path: Path) -> str:
    try:
        checkpoint.verify(path)
    except CheckpointError as error:
        return str(error)
    return ""


def _run_around(folder: Path) -> RunDirectory | None:
    """The run whose checkpoint is in `folder`."""
    run = RunDirectory(folder.parent.parent)
    return run if folder.parent == run.checkpoints and run.run_json.is_file() else None


def _recipe(file: Path, run: RunDirectory | None) -> Recipe:
    """What the file says about its network, with the preset of its run."""
    found = read_recipe(file)
    if found is None:
        raise CheckpointError(
            f"{file} does not say which network it is of, as what rbp saves does: load the run that it comes from"
        )
    return found if run is None else Recipe(read_resolved(run.preset_toml), found.classes, found.preprocess)


def _require_code(run: RunDirectory, *, trust: bool) -> None:
    """Raise RunError if the run has code that this user has neither launched nor trusts."""
    try:
        require_code(run)
    except Untrusted as error:
        if not trust:
            raise RunError(f"{error.why}; if you trust it, pass trust=True") from None


def _called(file: Path, run: RunDirectory | None) -> str:
    """The weights as messages name them."""
    return file.name if run is None else f"{run.id}/{file.parent.name}"
