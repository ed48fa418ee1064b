"""The table of probes: which of them a preset asks for."""

from typing import TYPE_CHECKING

from torch import nn

from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.layers import neuron_layers
from rbp_engine.probes.step_probe import Probes, StepProbe

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


def create_probes(preset: "Preset", model: nn.Module, steps: int) -> Probes:
    """The probes of a run of `steps` optimizer steps; for its first process."""
    every = min(preset.train.log_every, steps)
    found: list[StepProbe] = []
    if preset.probes.firing_rates and (layers := neuron_layers(model)):
        found.append(SpikeWatch(layers, preset.method.timesteps, every))
    return Probes(found)
