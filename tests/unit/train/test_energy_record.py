"""The energy at the end of a run: measured from its first images, and never a reason to fail."""

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.models import create_model
from rbp_engine.run.files.energy import read_energy
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.train.attempt import record_energy
from rbp_engine.train.record.journal import Journal


class Images(list[tuple[Tensor, Tensor]]):
    split = "test"


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("a network of its author's own mind")


def recorded(run: RunDirectory, model: nn.Module, images: Images) -> list[str]:
    """Record the energy; returns the warnings."""
    journal = Journal(run, Summary("job", "p", "e", "rate_m", 2, 1, step=40), attempt=1)
    record_energy(run, journal, model, images, timesteps=2)
    journal.end("completed", "")
    return [event.body.message for event in read_events(run.events()) if isinstance(event.body, WarningRaised)]


@pytest.fixture
def images():
    return Images([(torch.rand(40, 1, 8, 8), torch.zeros(40, dtype=torch.int64))])


def test_the_energy_is_that_of_the_first_images(run, images):
    assert recorded(run, create_model("convnet", num_classes=4, in_channels=1), images) == []
    energy = read_energy(run)
    assert (energy.images, energy.timesteps, energy.step) == (32, 2, 40)


def test_a_network_that_cannot_be_measured_is_a_warning(run, images):
    [warning] = recorded(run, Odd(), images)
    assert "energy" in warning and "own mind" in warning and read_energy(run) is None


def test_a_process_without_images_measures_nothing(run):
    assert recorded(run, Odd(), Images()) == []
    assert read_energy(run) is None
