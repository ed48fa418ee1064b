"""The trained network of a run, with the settings that it is evaluated with."""

import time
from dataclasses import dataclass

from rbp_engine.data.protocol import Feed
from rbp_engine.loaded import Loaded, Weights, load_with_data
from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import EvaluatedWeights
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.build import build_feed


@dataclass(frozen=True)
class Trained:
    """A run with its network, which has the `weights` "last" or "best", or with `ema` their moving average."""

    run: RunDirectory
    weights: Weights
    loaded: Loaded
    ema: bool = False

    @property
    def called(self) -> str:
        """The weights in words."""
        return f"averaged {self.weights}" if self.ema else self.weights

    @property
    def timesteps(self) -> int:
        """The T that the network was trained with."""
        return self.loaded.preset.method.timesteps

    def feed(self, timesteps: int) -> Feed:
        """The data of the run, for another T if that differs."""
        return build_feed(self.run, self.loaded.preset, self.loaded.device, timesteps)

    def evaluated(self, split: str, samples: int, timesteps: int, top1: float) -> EvaluatedWeights:
        """What a result is of, found now."""
        weights, checkpoint = one_line(self.called), one_line(self.loaded.file.parent.name)
        return EvaluatedWeights(weights, checkpoint, one_line(split), samples, timesteps, top1, round(time.time(), 3))


def open_trained(run: RunDirectory, weights: Weights, device: str, *, ema: bool = False) -> Trained:
    """The trained network of a run. Raises as `load_with_data` does."""
    return Trained(run, weights, load_with_data(run, weights=weights, device=device, ema=ema), ema)
