"""Tests that need a card. `make gpu` runs them; with RBP_TEST_DEVICE=cpu those run that a CPU can take, too."""

import os

import pytest
import torch

from rbp_engine.train.device import DeviceError, choose_device


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device under test: that of RBP_TEST_DEVICE, `cuda` or `cpu`."""
    wanted = os.environ.get("RBP_TEST_DEVICE")
    if wanted is None:
        pytest.skip("make gpu runs this")
    try:
        return choose_device(wanted)
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def card(device: torch.device) -> torch.device:
    """A card, where a CPU will not do."""
    if device.type != "cuda":
        pytest.skip("it is about a card, and RBP_TEST_DEVICE=cpu")
    return device
