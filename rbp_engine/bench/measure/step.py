"""Take training steps in one way, in a separate process: `python -m rbp_engine.bench.measure.step RUN SIDE LAYOUT`.

SIDE is "ours", the method of the run's preset, or one of `rbp_engine.bench.baselines`, whose memory format is LAYOUT
and whose precision and kernel are the preset's: autocast, and torch.compile around the network. It prints a line of
JSON when it is ready, and one for every line on stdin: for a number, it takes that many training steps (mean seconds,
and peak memory above that before the first step, in bytes); for `predict` and a number, it evaluates the batch so often
(mean seconds); for `floor` and a number, it runs the step's own convolutions and matrix products so often, alone (mean
seconds); for `count`, the saved bytes and operations of a step. A step is everything: gradients to None, forward,
backward and the optimizer, on one batch.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rbp_engine.bench.baselines import BASELINES, Predict
from rbp_engine.bench.measure import counts, stand_in
from rbp_engine.bench.measure.floor import FORMATS, Floor
from rbp_engine.bench.measure.trial import Trial
from rbp_engine.child import answer_each
from rbp_engine.data.open_feed import known_shape
from rbp_engine.errors import SettingsError
from rbp_engine.methods.protocol import predict
from rbp_engine.preset import read_resolved
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.gradient_fidelity import first_samples
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train import memory
from rbp_engine.train.build import build_optimizer
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.device import choose_device, describe_device

LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Way(NamedTuple):
    """A whole training step, a prediction, and what a baseline has chosen by itself on this machine."""

    step: Callable[[Tensor, Tensor], object]
    predict: Predict
    setting: str = ""


class Side:
    """A network and a way to take a training step with it, on one batch in the shape of the data."""

    def __init__(self, run: RunDirectory, preset: Preset, side: str, device: torch.device, layout: str = "") -> None:
        train = preset.train.model_copy(update={"ema": 0.0})  # no other side averages its weights
        alike = preset.model_copy(update={"train": train})
        self.trial = Trial(run, stand_in.with_stand_in(alike, known_shape(preset.data)), device)
        self.images, self.labels = self.trial.batch
        if len(self.labels) < preset.data.batch_size:
            raise SettingsError(
                f"data.batch_size = {preset.data.batch_size} is more than the {len(self.labels)} training samples"
            )
        if side != "ours":
            self.images = _in_format(self.images, layout)
        self.way = _ours(self.trial) if side == "ours" else _baseline(self.trial, preset, side, self.images, layout)

    def take(self, steps: int) -> dict[str, float]:
        """Mean seconds of a step."""
        return {"seconds": self.trial.timed(self._step_again, least=steps)[0]}

    def predict(self, times: int) -> dict[str, float]:
        """Mean seconds of a prediction for the batch."""
        return {"seconds": self.trial.timed(lambda: self.way.predict(self.images), least=times)[0]}

    def alone(self, times: int) -> dict[str, float]:
        """Mean seconds of the step's convolutions and matrix products, alone."""
        return {"seconds": self.trial.timed(self._floor.run, least=times)[0]}

    @functools.cached_property
    def _floor(self) -> Floor:
        return Floor(self._step_again, self.trial.device, lambda work: self.trial.timed(work, least=2)[0])

    def count(self, forward_operations: int) -> dict[str, float]:
        """Bytes saved for the backward pass, and operations in units of one forward pass at one timestep."""
        saved = counts.saved_bytes(self._step_again, self.trial.state.model.parameters())
        return {"saved": saved, "units": counts.weighted_operations(self._step_again) / forward_operations}

    def _step_again(self) -> None:
        self.way.step(self.images, self.labels)


def _ours(trial: Trial) -> Way:
    """What a worker trains with."""
    model, method = trial.state.model, trial.state.method

    def logits(images: Tensor) -> Tensor:
        return method.predict(model, images, time=trial.feed.has_time).mean(0)

    return Way(trial.take, logits)


def _baseline(trial: Trial, preset: Preset, name: str, images: Tensor, layout: str) -> Way:
    """The baseline whose network and optimizer take the place of the trial's, with its whole step."""
    state = trial.state
    baseline = BASELINES[name](_in_format(state.model, layout), preset.method.timesteps, images)
    if preset.train.kernel == "compiled":
        # The compiler would otherwise make kernels for every size, which are slower, as it has seen a smaller batch.
        baseline.network.compile(dynamic=False)
    # A baseline may have new parameters, so the trial's optimizer with its momenta is replaced.
    trial.state = State(baseline.network, state.method, build_optimizer(preset, baseline.network))
    del trial.step
    optimizer, low = trial.state.optimizer, LOW.get(preset.train.precision)

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast(trial.device.type, low, enabled=low is not None)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = baseline.loss(images, labels)
        loss.backward()
        optimizer.step()

    def predict(images: Tensor) -> Tensor:
        with autocast():
            return baseline.predict(images)

    return Way(step, predict, baseline.setting)


def _in_format(of: Any, layout: str) -> Any:
    """A network or images in a memory format; images of several timesteps stay as they are."""
    # Not all versions of torch's types know the argument.
    return of if isinstance(of, Tensor) and of.ndim != 4 else of.to(memory_format=FORMATS[layout])


def forward_operations(run: RunDirectory, preset: Preset, device: torch.device) -> int:
    """The number of operations in one forward pass of the batch at one timestep."""
    ours = Side(run, preset, "ours", device)
    images = ours.images[:1] if ours.images.ndim == 5 else ours.images
    return counts.weighted_operations(lambda: predict(ours.trial.state.model, images, 1))


def serve(run: RunDirectory, name: str, layout: str) -> Iterator[dict[str, Any]]:
    """Yield an answer when ready, and one for every line on stdin."""
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    # A small step first: the memory of compilers and of the libraries' tables belongs to the base.
    small = Side(run, preset, name, device, layout)
    small.way.step(*first_samples(small.images, small.labels, 2))
    del small
    side = Side(run, preset, name, device, layout)
    # Momenta count as memory of training, whenever they are created.
    base = memory.reset_peak(device) - side.trial.optimizer_bytes()
    yield {"device": describe_device(device), "base": base, "setting": side.way.setting}
    for line in sys.stdin:
        words = line.split()
        if words == ["count"]:
            yield side.count(forward_operations(run, preset, device))
        elif words[0] == "predict":
            yield side.predict(int(words[1]))
        elif words[0] == "floor":
            yield side.alone(int(words[1]))
        else:
            yield side.take(int(line)) | {"peak": memory.peak(device) - base}


def main(words: list[str]) -> int:
    """Answer until stdin ends; returns the exit code."""
    run = RunDirectory(Path(words[0]))
    return answer_each(lambda _: serve(run, *words[1:]), run.code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
