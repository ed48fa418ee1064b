"""The parts of an epoch as they are timed: with what the run itself would do."""

import torch

from rbp_engine.bench.measure.epoch import Epoch
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.bench.measure.trial import Trial
from rbp_engine.preset import load_preset


def test_probes_sample_as_often_as_in_the_run() -> None:
    loaded = load_preset("digits", ["batch=8", "epochs=2", "run.device=cpu", "probes.gradients=150"])
    with temporary_run(loaded) as run:
        epoch = Epoch(Trial(run, loaded.preset, torch.device("cpu")))
        intervals = [probe.every for probe in epoch.recorder.probes._probes]
        epoch.recorder.journal.end("completed", "")
    assert intervals == [loaded.preset.train.log_every, 150]
