"""The sweeps that come with rbp: one for each table and figure of the paper."""

import pytest

from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.report.paper import paper_cells
from rbp_engine.run.request import LaunchRequest

RUNS = {
    "paper-cifar10": 135,
    "paper-cifar100": 135,
    "paper-imagenet": 4,
    "paper-cifar10-dvs": 6,
    "paper-gradients": 4,
    "paper-timesteps": 45,
    "paper-firing-rates": 4,
    "paper-shuffled-time": 12,
    "paper-seconds": 36,
}
TABLES = ("paper-cifar10", "paper-cifar100", "paper-imagenet", "paper-cifar10-dvs")


@pytest.mark.parametrize("name", sorted(RUNS.keys() - set(TABLES)))
def test_a_bundled_sweep_has_this_many_runs(name):
    assert len(plan_sweep(SweepRequest(LaunchRequest(name))).points) == RUNS[name]


def test_the_sweeps_of_the_papers_tables_are_their_cells_and_no_others():
    plans = {name: plan_sweep(SweepRequest(LaunchRequest(name))) for name in TABLES}
    assert {name: len(plan.points) for name, plan in plans.items()} == {name: RUNS[name] for name in TABLES}
    networks = ("resnet18", "resnet19", "vgg11", "vgg13", "vggsnn")
    presets = [f"{data}-{network}" for data in ("cifar10", "cifar100") for network in networks]
    presets += ["imagenet-sew_resnet34", "imagenet-preact_resnet34", "cifar10-dvs-vggsnn"]
    cells = {cell.experiment for cell in paper_cells(presets)[0]}
    assert {point.loaded.experiment for plan in plans.values() for point in plan.points} == cells
