from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.train.finite import FiniteGuard

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda parameters, **how: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1, **how),
    "adam": lambda parameters, **how: torch.optim.Adam(parameters, lr=0.1, **how),
    "adamw": lambda parameters, **how: torch.optim.AdamW(parameters, lr=0.1, **how),
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


def take_step(network: nn.Module, guard: FiniteGuard, spoil: float = 1.0) -> Tensor:
    """One step on random samples; returns the loss that the guard reports."""
    guard.optimizer.zero_grad()
    loss = (network(torch.randn(16, 4)) * spoil).square().mean()
    loss.backward()
    return guard.step(loss.detach())


def state(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    momenta = [value for one in optimizer.state.values() for value in one.values()]
    return [torch.as_tensor(value).clone() for value in [*network.parameters(), *momenta] if value is not None]


def same(ours: Any, theirs: Any) -> bool:
    return all(torch.equal(mine, its) for mine, its in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_after_a_non_finite_gradient_no_step_changes_weights_or_momenta(network, name, fused):
    """Fused optimizers check the flag on the device themselves; for others it is fetched."""
    guard = FiniteGuard(network, OPTIMIZERS[name](network.parameters(), fused=fused))
    for _ in range(2):
        before = state(network, guard.optimizer)
        assert bool(take_step(network, guard).isfinite())
    assert not same(state(network, guard.optimizer), before) and guard.skipped == 0
    before = state(network, guard.optimizer)
    for number, factor in enumerate((float("nan"), 1.0, float("inf")), start=1):
        assert bool(take_step(network, guard, factor).isnan())
        assert same(state(network, guard.optimizer), before) and guard.skipped == number


def test_a_large_finite_gradient_is_applied(network):
    guard = FiniteGuard(network, torch.optim.SGD(network.parameters(), lr=1e-20))
    assert bool(take_step(network, guard, 1e7).isfinite()) and guard.skipped == 0
