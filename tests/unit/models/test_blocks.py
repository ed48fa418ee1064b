"""What several families share: in which order layers run, where a shortcut begins and ends, what stays in memory."""

import weakref

import pytest
import torch
from torch import nn

from rbp_engine.models.blocks import NamedSequential, PreActBlock, Residual, TransformerBlock

X = torch.tensor([[1.0, 2.0]])


class Affine(nn.Module):
    """x ↦ a·x + b, which tells in which order layers ran."""

    def __init__(self, a=1.0, b=0.0):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x):
        return self.a * x + self.b


DOUBLE, PLUS_3, PLUS_5 = Affine(a=2.0), Affine(b=3.0), Affine(b=5.0)


def test_layers_run_in_the_order_given_and_those_of_lists_in_their_place():
    lists = nn.ModuleList([nn.ModuleList([DOUBLE, PLUS_3]), DOUBLE])
    assert torch.equal(NamedSequential(first=PLUS_5, stages=lists, last=PLUS_5)(X), ((X + 5) * 2 + 3) * 2 + 5)


def test_what_a_layer_got_is_free_when_the_next_one_runs():
    given = []

    class Look(nn.Module):
        def forward(self, x):
            # The first is the network's own input, which its caller keeps.
            assert not any(values() is not None for values in given[1:])
            given.append(weakref.ref(x))
            return x + 1

    stages = nn.ModuleList(nn.ModuleList([Look(), Look()]) for _ in range(3))
    NamedSequential(stem=Look(), stages=stages, last=Look())(X)
    assert len(given) == 8


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Residual(one=DOUBLE, two=PLUS_3), (2 * X + 3) + X),
        (Residual(one=DOUBLE, shortcut=PLUS_5, two=DOUBLE), (2 * X + (X + 5)) * 2),
        (Residual(after="stem", stem=PLUS_3, one=DOUBLE, shortcut=PLUS_5), 2 * (X + 3) + (X + 3 + 5)),
        (Residual(after="stem", stem=PLUS_3, one=DOUBLE), 2 * (X + 3) + (X + 3)),
        (TransformerBlock(attn=DOUBLE, mlp=PLUS_3), (3 * X + 3) + 3 * X),
    ],
)
def test_a_shortcut_begins_and_is_added_where_it_is_said(block, expected):
    assert torch.equal(block(X), expected)


@pytest.mark.parametrize("pools", [{}, {"max_pool": True}, {"average_pool": True}])
def test_a_block_halves_the_image_by_strides_or_by_pools(pools):
    block = PreActBlock(4, 6, 2, nn.ReLU, **pools)
    assert block(torch.rand(1, 4, 8, 8)).shape == (1, 6, 4, 4)
    assert block.conv1.stride == ((1, 1) if "max_pool" in pools else (2, 2))
    assert hasattr(block, "pool") == ("max_pool" in pools)
    kinds = [type(layer) for layer in block.shortcut]
    assert kinds == [*([nn.AvgPool2d] if "average_pool" in pools else []), nn.Conv2d, nn.BatchNorm2d]
