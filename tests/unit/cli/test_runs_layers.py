"""`rbp show --layers`: what probes have measured, from files of events as a run writes them."""

import json

import pytest
from typer.testing import CliRunner

from rbp_engine.preset import load_preset
from rbp_engine.run.files.events import FiringRates, GradientFidelity, Health, RunStart
from rbp_engine.run.launch import launch
from rbp_tui.cli import app
from tests.run_files import change_summary, tell


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    return launch.create(load_preset("digits"), tmp_path / "runs", run_id="one")


def sampled(run):
    tell(run, RunStart(steps_per_epoch=10, neuron_layers=["stem.lif"], weight_layers=["stem.conv", "head"]), step=0)
    tell(run, FiringRates([[0.5, 0.25]], [0.125], [0.0]), step=10)
    health = Health([0.5], [[0.0, 0.1, 0.2, 0.3, 0.4]], [1e-3, 0.0], [1e-5, None])
    fidelity = GradientFidelity(8, 0.9, 1.1, [0.875, None], [1.0, None], [0.0625], [0.25, None])
    tell(run, FiringRates([[0.1, 0.3]], [0.75], [0.0]), health, fidelity, step=20)
    return run


def test_learnt_decays_and_thresholds_stand_beside_the_membranes(run):
    tell(run, RunStart(steps_per_epoch=10, neuron_layers=["stem.lif"], weight_layers=["head"]), step=0)
    tell(run, Health([0.5], [[0.0, 0.1, 0.2, 0.3, 0.4]], [1e-3], [1e-5], [0.25], [1.125]), step=20)
    assert "stem.lif 50.0 0.200 0.250 1.125 " in " ".join(rbp(run).split())
    (layer,) = json.loads(rbp(run, "--json"))["membranes"]["layers"]
    assert (layer["decay"], layer["threshold"]) == (0.25, 1.125)


def rbp(run, *words):
    done = CliRunner().invoke(app, ["show", run.id, "--layers", *words, "--runs-dir", str(run.path.parent)])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_probe_has_a_table_by_layer(run):
    said = " ".join(rbp(sampled(run)).split())
    for row in (
        "firing rate % by timestep at step 20, epoch 2.00", "stem.lif 10 ▂ 30 ▅ 20.0 75.0 0.0 ",
        "stem.lif 50.0 0.200 0.000 … 0.400 ", "stem.conv 1.00e-05 1.00e-03 ", "head – 0.00e+00 ",
        "all weights 0.900 1.100 – ", "stem.conv weights 0.875 1.000 0.250 ", "head weights – – – ",
        "stem.lif neurons – – 0.062 ",
    ):  # fmt: skip
        assert row in said, row


def test_the_samples_nearest_to_an_epoch_are_chosen_and_json_has_fractions(run):
    found = json.loads(rbp(sampled(run), "--epoch", "1.2", "--json"))
    assert found["run"] == "one" and found["gradients"]["epoch"] == 2.0
    [layer] = found["firing_rates"]["layers"]
    assert found["firing_rates"]["step"] == 10
    assert layer == {"layer": "stem.lif", "rate": 0.375, "rates": [0.5, 0.25], "silent": 0.125, "saturated": 0.0}
    assert found["updates"]["layers"][1] == {"layer": "head", "gradient_norm": 0.0, "update_ratio": None}


def test_a_run_without_samples_says_how_to_have_some(run):
    assert "it has not begun" in rbp(run)
    change_summary(run, status="completed")
    assert "probes.firing_rates=true" in rbp(run)
    assert json.loads(rbp(run, "--json")) == {"run": "one"}
