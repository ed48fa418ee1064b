"""What a network may return: the logits of its last layer alone."""

from collections import namedtuple

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method


class TwoOutputs(nn.Linear):
    def forward(self, x):
        return namedtuple("Pair", ["logits", "features"])(super().forward(x), x)


@pytest.mark.parametrize("method", METHODS)
def test_several_outputs_are_refused_with_what_to_do(method):
    with pytest.raises(TypeError, match=r"returned Pair; it must return the logits of its last layer alone"):
        create_method(method, 2).step(TwoOutputs(6, 3), torch.rand(2, 6), torch.tensor([0, 2]))
