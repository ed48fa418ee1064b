"""A user who has no data, and feeds as a run opens them."""

import pytest
import torch

from rbp_engine.data.open_feed import open_feed
from rbp_engine.preset.sections.data import DataSection


@pytest.fixture(autouse=True)
def config(tmp_path_factory, monkeypatch):
    """The folder of a configuration that names a cache and nothing else."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "machine.toml").write_text(f"cache = '{folder / 'cache'}'\n")
    monkeypatch.setenv("RBP_CONFIG", str(folder))
    return folder


@pytest.fixture(scope="session")
def open_data():
    """Open data by the fields of their section in a preset."""

    def opened(timesteps=4, seed=0, held_out=0.0, **data):
        section = DataSection.model_validate(data)
        return open_feed(section, timesteps=timesteps, seed=seed, held_out=held_out, device=torch.device("cpu"))

    return opened
