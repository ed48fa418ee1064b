"""torch.utils.checkpoint is refused: it would compute a part of the network again in the backward pass."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant):
        super().__init__()
        self.use_reentrant = use_reentrant
        self.stem = nn.Sequential(nn.Linear(6, 6), LIF())
        self.block = nn.Sequential(nn.Linear(6, 6), LIF())
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(checkpoint(self.block, self.stem(x), use_reentrant=self.use_reentrant))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_activation_checkpointing_is_refused(name, use_reentrant):
    with pytest.raises(RuntimeError, match=r"computes a part of the network again .* leave it out"):
        create_method(name, 3).step(Checkpointed(use_reentrant), torch.rand(4, 6), torch.tensor([0, 1, 2, 0]))


def test_a_checkpointed_network_is_evaluated():
    """Without a graph nothing is computed again."""
    model = Checkpointed(use_reentrant=False)
    plain = nn.Sequential(model.stem, model.block, model.head)
    method = create_method("rate_m", 3)
    images = torch.rand(4, 6)
    assert torch.equal(method.predict(model, images), method.predict(plain, images))
