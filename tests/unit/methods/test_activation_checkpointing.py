"""torch.utils.checkpoint: exact with methods that compute all timesteps of a layer together, refused by the others."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, carrier

T, B = 3, 4


class Network(nn.Module):
    """A stem, residual blocks that may be checkpoints, one of them nested, and a head.

    Two checkpoints begin with a deferred batch norm, which is computed when its value is needed: in one case by the
    checkpoint itself, in the other by a later operation.
    """

    def __init__(self, momentum=0.1, **how):
        super().__init__()
        self.how = how
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=momentum), LIF())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4, 4, 3, padding=1),
                nn.BatchNorm2d(4, momentum=momentum),
                LIF(detach_reset=False),
                nn.Dropout(0.2),
                nn.MaxPool2d(2, 1),
                nn.Conv2d(4, 4, 2, padding=1),
                nn.BatchNorm2d(4),
                LIF(),
            )
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(4, momentum=momentum) for _ in range(2))
        self.neuron, self.conv = LIF(), nn.Conv2d(4, 4, 1)
        self.head = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(16, 3))

    def run(self, layer, x):
        return checkpoint(layer, x, **self.how) if self.how else layer(x)

    def forward(self, x):
        x = self.run(self.stem, x)
        x = x + self.run(self.blocks[0], x)
        x = self.run(lambda inputs: inputs + self.run(self.blocks[1], inputs), x)
        x = self.norms[0](x)
        x = self.run(self.neuron, x) + self.conv(x)
        x = self.norms[1](x)
        x = self.run(self.conv, x) + x
        return self.head(x)


def images(static):
    x = torch.randn(T, B, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x[0] if static else x


def train(name, x, **how):
    """Gradients of two steps, and running statistics with the counts of batches."""
    torch.manual_seed(0)
    model, method = Network(**how).double(), create_method(name, T)
    for _ in range(2):
        torch.manual_seed(3)
        method.step(model, x, torch.arange(B) % 3)
    return [*(parameter.grad for parameter in model.parameters()), *model.buffers()]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("name", ["bptt", "rate_m"])
def test_checkpointing_changes_neither_gradients_nor_running_statistics(name, static, momentum):
    found = train(name, images(static), momentum=momentum, use_reentrant=False)
    for mine, plain in zip(found, train(name, images(static), momentum=momentum), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["bptt", "rate_m"])
def test_where_torch_cannot_tell_of_checkpointing_nothing_changes_with_or_without_it(name, monkeypatch):
    plain = train(name, images(static=False))
    monkeypatch.setattr(carrier, "_top_hooks", None)
    for how in ({}, {"use_reentrant": False}):
        for mine, known in zip(train(name, images(static=False), **how), plain, strict=True):
            torch.testing.assert_close(mine, known, rtol=1e-10, atol=1e-12)


class MembraneShortcuts(nn.Module):
    """Batch norms and sums in checkpoints, whose inputs are deferred batch norms and sums."""

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.blocks = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(4), LIF(), nn.Conv2d(4, 4, 1)) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        self.frozen = nn.BatchNorm2d(4).eval()
        self.head = nn.Sequential(LIF(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 3))

    def forward(self, x):
        x = self.stem(x)
        x = x + self.run(self.blocks[0], x)
        x = self.norms[0](x) + x
        x = self.run(lambda inputs: inputs + self.norms[1](inputs), x)
        return self.head(x + self.run(self.blocks[1], x) + self.run(self.frozen, x))


@pytest.mark.parametrize("name", ["bptt", "rate_m"])
def test_operations_deferred_into_a_checkpoint_get_their_gradients(name):
    gradients = []
    for run in (lambda layer, x: layer(x), lambda layer, x: checkpoint(layer, x, use_reentrant=False)):
        torch.manual_seed(0)
        model = MembraneShortcuts(run).double()
        create_method(name, T).step(model, images(static=False), torch.arange(B) % 3)
        gradients.append({key: parameter.grad for key, parameter in model.named_parameters()})
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"bptt", "rate_m"}))
def test_single_step_methods_refuse_checkpointing_and_name_the_others(name):
    with pytest.raises(RuntimeError, match=r"gone on to later timesteps.* bptt and rate_m"):
        train(name, images(static=False), use_reentrant=False)


@pytest.mark.parametrize("name", METHODS)
def test_reentrant_checkpointing_which_would_lose_gradients_is_refused(name):
    with pytest.raises(RuntimeError, match=r"passes no gradient on.* use_reentrant=False"):
        train(name, images(static=True), use_reentrant=True)


@pytest.mark.parametrize("name", ["bptt", "rate_m"])
def test_a_failing_backward_counts_each_batch_once(name):
    model = Network(use_reentrant=False).double()

    def fail(grad):
        raise RuntimeError("interrupted")

    model.stem[0].weight.register_hook(fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        create_method(name, T).step(model, images(static=False), torch.arange(B) % 3)
    counts = [buffer.item() for key, buffer in model.named_buffers() if key.endswith("num_batches_tracked")]
    assert set(counts) == {1}
