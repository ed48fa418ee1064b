"""Products of activations: values step by step, and for the rate methods the gradient of the product of the means.

A case is (shapes of the carriers, shapes of tensors without time, product of both).
"""

import operator
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor
from tests.unit.spiking.rule_checks import (
    B,
    T,
    check_rate_at_the_means,
    check_sequence,
    check_static_image,
    random,
    tensors,
)

LEFT, RIGHT = (B, 2, 4, 3), (B, 2, 3, 5)

PRODUCTS = {
    "mul": ([LEFT, LEFT], [], operator.mul),
    "mul, a gate": ([LEFT, (B, 2, 1, 1)], [], torch.mul),
    "addcmul": ([LEFT, LEFT, (B, 2, 1, 1)], [], lambda x, y, z: torch.addcmul(x, y, z, value=0.5)),
    "linear": ([(B, 4), (5, 4)], [], F.linear),
    "linear with a bias": ([(B, 6, 4), (5, 4)], [(5,)], F.linear),
    "conv2d": ([LEFT, (5, 2, 2, 2)], [], F.conv2d),
    "conv_transpose1d": ([(B, 2, 4), (2, 3, 2)], [], F.conv_transpose1d),
    "mul, squared": ([LEFT], [], lambda x: x.mul(x)),
    "matmul": ([LEFT, RIGHT], [], torch.matmul),
    "matmul with one head": ([LEFT, (B, 1, 3, 5)], [], torch.matmul),
    "bmm": ([(B, 4, 3), (B, 3, 5)], [], torch.bmm),
    "einsum": ([LEFT, RIGHT], [], lambda x, y: torch.einsum("bhij,bhjk->bihk", x, y)),
    "einsum with the batch behind": ([LEFT, LEFT], [], lambda x, y: torch.einsum("bhij,bhij->jb", [x, y])),
    "over all pairs of samples": ([(B, 4), (4, B)], [], torch.matmul),
    "einsum of three": ([LEFT] * 3, [], lambda x, y, z: torch.einsum("bhid,bhjd,bhje->bhie", x, y, z)),
    "einsum with a constant of the batch": (
        [LEFT, RIGHT],
        [(B, 5)],
        lambda x, y, w: torch.einsum("bhij,bhjk,bk->bhi", x, y, w),
    ),
}
LINEAR = {
    "rows by a vector": ([(B, 6)], [(6,)], operator.matmul),
    "a matrix at the right": ([LEFT], [(3, 4)], torch.matmul),
    "a matrix at the left": ([LEFT], [(5, 4)], lambda x, w: w @ x),
    "a matrix for each sample": ([LEFT], [(B, 2, 3, 4)], torch.matmul),
    "bmm": ([(B, 4, 3)], [(B, 3, 5)], torch.bmm),
    "linear of a tensor without time": ([(5, 4)], [(B, 4)], lambda x, w: F.linear(w, x)),
    "einsum": ([LEFT], [(3, 4)], lambda x, w: torch.einsum("bhij,jk->bkih", x, w)),
    "einsum with the batch in dots": ([LEFT], [(B, 2, 3, 5)], lambda x, w: torch.einsum("...ij,...jk->...ik", x, w)),
}
CASES = [pytest.param(*case, id=name) for name, case in [*PRODUCTS.items(), *LINEAR.items()]]


@pytest.mark.parametrize("check", [check_sequence, check_rate_at_the_means, check_static_image])
@pytest.mark.parametrize(("shapes", "constant_shapes", "product"), CASES)
def test_a_product_is_that_of_each_step_with_the_gradient_of_the_product_of_the_means(
    shapes, constant_shapes, product, check
):
    check(product, shapes, tensors(constant_shapes, 10))


@pytest.mark.parametrize("name", ["mul", "matmul", "einsum"])
def test_until_the_backward_the_graph_of_rate_m_keeps_means_and_no_sequences(name):
    shapes, _, product = PRODUCTS[name]
    factors = [random(T, *shape, seed=seed) for seed, shape in enumerate(shapes)]
    carriers = [RateTensor(SequenceTensor(x, T), x.mean(0).requires_grad_()) for x in factors]
    sequences = [weakref.ref(carrier.resolve().values()) for carrier in carriers]
    rate = product(*carriers).rate()
    del factors, carriers
    assert [sequence() for sequence in sequences] == [None, None]
    rate.sum().backward()


@pytest.mark.parametrize("method", METHODS)
def test_a_matrix_in_low_precision_has_the_type_of_the_activation(method):
    class Projected(nn.Sequential):
        def forward(self, x):
            return super().forward(x) @ torch.eye(3)

    model = Projected(nn.Linear(6, 4), LIF(threshold=0.1), nn.Linear(4, 3))
    out = create_method(method, T, precision="bf16").step(model, torch.rand(B, 6), torch.tensor([0, 1]))
    assert out.logits.isfinite().all()
