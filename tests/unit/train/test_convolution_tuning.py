"""On which devices convolutions are tuned; torch takes the setting without a card, too."""

import pytest
import torch

from rbp_engine.train.device import tune_convolutions

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def settings_as_before():
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before
    torch.use_deterministic_algorithms(False)


def test_convolutions_are_tuned_on_a_card_and_not_on_a_cpu():
    for device, tuned in ((CPU, False), (CARD, True), (CPU, False)):
        tune_convolutions(device)
        assert torch.backends.cudnn.benchmark is tuned


def test_code_that_asks_for_deterministic_algorithms_has_no_convolution_tuned():
    torch.backends.cudnn.deterministic = True
    tune_convolutions(CARD)
    assert not torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic = False
    torch.use_deterministic_algorithms(True)
    tune_convolutions(CARD)
    assert not torch.backends.cudnn.benchmark
