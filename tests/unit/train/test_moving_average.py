"""The moving average of weights against its formula."""

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.train.moving_average import MovingAverage

GOING = torch.tensor(False)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4).double())


def shaken(model: nn.Module, seed: int) -> None:
    """Other weights and statistics, and one batch more."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(torch.rand(tensor.shape, generator=draw) if tensor.is_floating_point() else 1)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def averages(model: nn.Module, average: MovingAverage) -> dict[str, Tensor]:
    with average.applied():
        return state(model)


def test_weights_and_running_statistics_are_averaged_by_the_formula():
    model = network()
    average = MovingAverage(model, 0.4)
    expected = state(model)
    for step in range(1, 8):
        shaken(model, step)
        average.update(step, GOING)
        decay = min(0.4, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
    expected["1.num_batches_tracked"] = expected["2.num_batches_tracked"] = torch.tensor(7)
    for name, tensor in averages(model, average).items():
        torch.testing.assert_close(tensor, expected[name], msg=lambda message, name=name: f"{name}: {message}")


def test_the_networks_own_numbers_come_back_to_the_last_bit_even_after_an_error():
    model = network()
    average = MovingAverage(model, 0.4)
    shaken(model, 1)
    before = state(model)
    with pytest.raises(KeyboardInterrupt), average.applied():
        assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
        raise KeyboardInterrupt
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_network_without_buffers_has_an_average_too():
    model = nn.Linear(2, 2)
    average = MovingAverage(model, 0.5)
    shaken(model, 1)
    average.update(1, GOING)
    assert not torch.equal(averages(model, average)["weight"], model.weight)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="between 0 and 1"):
        MovingAverage(network(), decay)
