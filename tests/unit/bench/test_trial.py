"""The parts of an epoch as they are timed: with what the run itself would do."""

import torch
from torch import Tensor, nn

from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.bench.measure.trial import Trial
from rbp_engine.preset import load_preset


def test_probes_sample_as_often_as_in_the_run():
    loaded = load_preset("digits", ["batch=8", "epochs=2", "run.device=cpu", "probes.gradients=150"])
    with temporary_run(loaded) as run:
        probes = Trial(run, loaded.preset, torch.device("cpu")).probes()
        intervals = [probe.every for probe in probes._probes]
    assert intervals == [loaded.preset.train.log_every, 150]


def test_the_average_of_the_weights_is_kept_evaluated_and_saved_as_in_the_run():
    loaded = load_preset("digits", ["batch=8", "run.device=cpu", "train.ema=0.9", "T=2"])
    with temporary_run(loaded) as run:
        trial = Trial(run, loaded.preset, torch.device("cpu"))
        norm = next(module for module in trial.state.model.modules() if isinstance(module, nn.BatchNorm2d))
        begun = norm.running_mean.clone()
        trial.training(0.0)
        with trial.state.average.applied():
            averaged = norm.running_mean.clone()
        assert not averaged.equal(begun) and not averaged.equal(norm.running_mean)
        seen: list[Tensor] = []
        trial.state.model.register_forward_pre_hook(lambda *_: seen.append(norm.running_mean.clone()))
        trial.evaluation_s(8, 0.0)
        assert seen and all(mean.equal(averaged) for mean in seen)
        trial.end_s()
        newest = max(run.checkpoints.glob("step-*"))
        assert (newest / "ema.safetensors").is_file()


def test_steps_of_two_batches_are_measured_however_long_they_take():
    for images, batches in ((1, {1}), (2, {1, 2}), (8, {2, 3})):
        loaded = load_preset("digits", [f"batch={images}", "run.device=cpu", "T=2"])
        with temporary_run(loaded) as run:
            points = Trial(run, loaded.preset, torch.device("cpu")).small_points(1)
        assert {point.batch for point in points} == batches


def test_small_steps_are_parts_of_a_batch():
    loaded = load_preset("digits", ["batch=8", "train.accumulate=4", "run.device=cpu", "T=1"])
    with temporary_run(loaded) as run:
        trial, seen = Trial(run, loaded.preset, torch.device("cpu")), set()
        trial.state.model.register_forward_pre_hook(lambda _, inputs: seen.add(len(inputs[0])))
        trial.small_points(4)
    assert seen == {2, 4}
