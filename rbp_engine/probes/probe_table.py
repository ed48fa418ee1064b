"""The table of probes: which of them a preset asks for."""

from pathlib import Path

from torch import nn

from rbp_engine.data.loading.source import EvaluationBatches
from rbp_engine.methods import Method
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import FidelityProbe, probe_batch
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.own_metrics import OwnMetrics
from rbp_engine.probes.step_probe import Probes, StepProbe


def create_probes(
    preset: Preset,
    model: nn.Module,
    method: Method,
    validation: EvaluationBatches,
    *,
    steps_per_epoch: int,
    code: Path,
) -> Probes:
    """The probes of a run, for its first process; `code` is the folder of the user's own. Raises OwnCodeError.

    Gradients are compared on the first images of `validation`.
    """
    steps = steps_per_epoch * preset.train.epochs
    every = min(preset.train.log_every, steps)
    neurons, weights = neuron_layers(model), weight_layers(model)
    probes: list[StepProbe] = []
    if preset.probes.firing_rates and neurons:
        probes.append(SpikeWatch(neurons, preset.method.timesteps, every))
    if preset.probes.health and neurons and weights:
        probes.append(HealthProbe(neurons, weights, every))
    if preset.probes.gradients and neurons:
        batch = probe_batch(validation, preset.probes.gradients_images)
        if batch is not None:
            probes.append(FidelityProbe(model, method, batch, min(preset.probes.gradients, steps)))
    if preset.probes.own:
        probes.append(OwnMetrics(preset.probes.own, code, model, steps_per_epoch, every))
    return Probes(probes)
