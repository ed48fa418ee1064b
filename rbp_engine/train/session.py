"""Everything that a run trains with, built from its preset in one place: for its worker, and for what measures it."""

from collections.abc import Callable

import torch

from rbp_engine.data.feed import Feed
from rbp_engine.methods import Method
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.probe_table import create_probes
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.build import build_branches, build_method, build_model, build_optimizer, build_schedule
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.device import tune_convolutions
from rbp_engine.train.pretrained import load_pretrained
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.step import OptimizerStep
from rbp_engine.train.teacher import build_teacher


class TrainingSession:
    """Data, the state with newly drawn weights, the step that trains it, and the learning rate over the run.

    A network that will be `loaded` from a checkpoint does not need its pretrained weights. `notify` gets what the user
    should know of the network. Raises SettingsError, OwnCodeError, and CheckpointError for a teacher's weights.
    """

    def __init__(
        self,
        run: RunDirectory,
        preset: Preset,
        feed: Feed,
        device: torch.device,
        ranks: Ranks | None = None,
        notify: Callable[[str], None] = lambda text: None,
        *,
        loaded: bool = False,
    ) -> None:
        self.run, self.preset, self.feed, self.device = run, preset, feed, device
        ranks = ranks or Ranks()
        model = build_model(run, preset, feed, device, notify)
        if preset.model.pretrained and not loaded:
            notify(load_pretrained(preset.model, model))
        branches = build_branches(preset, model, feed)
        tune_convolutions(device)  # after the user's own code
        if preset.train.sync_bn:
            ranks.synchronise_batch_norm(model)
        optimizer = build_optimizer(preset, model, branches)
        self._teacher = build_teacher(run, preset, feed, device)
        self.schedule = build_schedule(preset, len(feed.train))
        self.state = State(model, self.method(), optimizer, branches=branches, ema=preset.train.ema)
        self.step = OptimizerStep(
            self.state,
            ranks,
            accumulate=preset.train.accumulate,
            clip_norm=preset.optim.clip_norm,
            time=feed.has_time,
        )

    def method(self, timesteps: int | None = None) -> Method:
        """The method of the run, also with another T."""
        preset = self.preset
        if timesteps is not None:
            preset = preset.model_copy(update={"method": preset.method.model_copy(update={"timesteps": timesteps})})
        return build_method(preset, self.run.code, self._teacher)

    def probes(self) -> Probes:
        """The probes of the run, for its first process. Raises OwnCodeError."""
        return create_probes(
            self.preset,
            self.state.model,
            self.state.method,
            self.feed.validation,
            steps_per_epoch=len(self.feed.train),
            code=self.run.code,
        )
