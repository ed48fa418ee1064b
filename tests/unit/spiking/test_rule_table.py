"""Every entry of the rule table, for both carriers: values step by step, gradients of the mean.

A case is (rule, input shapes without time, parameter shapes, operation of the inputs and the parameters). Its values
must be the mean of the operation's, and its rate gradient that of the operation applied to the plain mean.
"""

import operator

import pytest
import torch
import torch.nn.functional as F

from rbp_engine.spiking import RateTensor, SequenceTensor, UnsupportedOperation
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.rules.nonlinear_rules import POINTWISE, REDUCTIONS
from rbp_engine.spiking.rules.rule_table import RULES
from tests.unit.spiking import rule_checks as checks
from tests.unit.spiking.rule_checks import B, T, by_step, close, random, same_gradients

IMAGE = (B, 4, 6, 6)
LINE = (B, 4, 9)
CUBE = (B, 4, 3, 4, 4)
ROW = (B, 6)
HALF = torch.arange(6) % 2 == 0

LINEAR = [
    ("conv2d", [IMAGE], [(6, 4, 3, 3), (6,)], lambda x, w, b: F.conv2d(x, w, b, 2, 1)),
    ("conv2d", [IMAGE], [(6, 2, 3, 3)], lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=2)),
    ("conv2d", [IMAGE], [(6, 4, 3, 3)], lambda x, w: F.conv2d(x, w, padding="same", dilation=2)),
    ("conv2d", [IMAGE], [(6, 4, 2, 4), (6,)], lambda x, w, b: F.conv2d(x, w, b, padding="valid")),
    # Weights larger than the output: their gradients are computed last.
    ("conv2d", [(B, 4, 3, 3)], [(8, 4, 3, 3), (8,)], F.conv2d),
    ("conv3d", [CUBE], [(6, 4, 2, 3, 1), (6,)], F.conv3d),
    ("conv_transpose3d", [CUBE], [(4, 2, 2, 2, 2), (2,)], lambda x, w, b: F.conv_transpose3d(x, w, b, stride=2)),
    ("mm", [ROW], [(6, 3)], torch.mm),
    ("tensordot", [LINE], [(9, 5)], lambda x, w: torch.tensordot(x, w, 1)),
    ("addmm", [ROW], [(3,), (6, 3)], lambda x, b, w: torch.addmm(b, x, w)),
    ("baddbmm", [LINE], [(B, 1, 3), (B, 9, 3)], lambda x, b, w: torch.baddbmm(b, x, w, alpha=0.5)),
    ("interpolate", [IMAGE], [], lambda x: F.interpolate(x, (4, 7), mode="bilinear", align_corners=True)),
    ("avg_pool3d", [CUBE], [], lambda x: F.avg_pool3d(x, 2)),
    ("adaptive_avg_pool3d", [CUBE], [], lambda x: F.adaptive_avg_pool3d(x, (1, 2, None))),
    ("linear", [ROW], [(5, 6), (5,)], F.linear),
    ("linear", [LINE], [(5, 9), (5,)], F.linear),
    ("avg_pool2d", [IMAGE], [], lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    ("adaptive_avg_pool2d", [IMAGE], [], lambda x: F.adaptive_avg_pool2d(x, (None, 4))),
    ("flatten", [IMAGE], [], lambda x: torch.flatten(x, 1)),
    ("flatten", [IMAGE], [], lambda x: x.flatten(0, 1)),
    ("reshape", [IMAGE], [], lambda x: x.reshape(B, -1)),
    ("reshape", [IMAGE], [], lambda x: x.reshape(-1)),
    ("view", [(B,)], [], lambda x: x.view(-1, 1)),
    ("reshape_as", [IMAGE], [], lambda x: x.reshape_as(torch.empty(B, 8, 18))),
    ("contiguous", [IMAGE], [], lambda x: x.contiguous()),
    ("mean", [IMAGE], [], lambda x: x.mean(dim=[2, 3], keepdim=True)),
    ("mean", [IMAGE], [], lambda x: x.mean(0)),
    ("sum", [IMAGE], [], lambda x: torch.sum(x, 1, keepdim=True)),
    ("where", [IMAGE, IMAGE], [], lambda x, y: torch.where(HALF, x, y)),
    ("where", [IMAGE], [(4, 1, 1)], lambda x, w: torch.where(HALF, w, x)),
    ("where", [IMAGE], [], lambda x: x.where(HALF, 0.3)),
    ("getitem", [IMAGE], [], lambda x: x[:, 1:3, ::2, -1]),
    ("getitem", [IMAGE], [], lambda x: x[1]),
    ("getitem", [IMAGE], [], lambda x: x[:, torch.tensor([2, 0, 2])]),
    ("permute", [IMAGE], [], lambda x: x.permute(0, 2, 3, 1)),
    ("permute", [ROW], [], lambda x: x.T),
    ("transpose", [IMAGE], [], lambda x: x.mT),
    ("moveaxis", [IMAGE], [], lambda x: torch.moveaxis(x, 0, 3)),
    ("squeeze", [(B, 1, 4, 1)], [], lambda x: x.squeeze()),
    ("expand", [(B, 1, 3)], [], lambda x: x.expand(-1, 4, -1)),
    ("repeat_interleave", [LINE], [], lambda x: torch.repeat_interleave(x, torch.tensor([1, 2]), 0)),
    ("narrow", [LINE], [], lambda x: x.narrow(1, 1, 2)),
    ("index_select", [LINE], [], lambda x: x.index_select(1, torch.tensor([3, 0, 3]))),
    ("roll", [IMAGE], [], lambda x: torch.roll(x, shifts=(1, -2), dims=(2, 3))),
    ("pad", [IMAGE], [], lambda x: F.pad(x, (1, 1), value=0.7)),
    ("pad", [IMAGE], [], lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))),
    ("unfold", [IMAGE], [], lambda x: F.unfold(x, 3, padding=1)),
    ("unfold", [LINE], [], lambda x: x.unfold(2, 3, 2)),
    ("chunk", [IMAGE], [], lambda x: x.chunk(3, 1)[1]),
    ("unbind", [IMAGE], [], lambda x: x.unbind(1)[2]),
    ("unbind", [IMAGE], [], lambda x: next(iter(x))),
    ("stack", [IMAGE, IMAGE], [], lambda x, y: torch.stack([x, y], 1)),
    ("stack", [IMAGE], [IMAGE], lambda x, w: torch.stack((w, x))),
    ("cat", [IMAGE, (B, 3, 6, 6)], [], lambda x, y: torch.cat([x, y], 1)),
    ("cat", [IMAGE, IMAGE], [], lambda x, y: torch.cat(tensors=(x, y), dim=2)),
    ("cat", [LINE], [(1, 4, 1)], lambda x, w: torch.cat([w.expand(B, -1, -1), x], 2)),
    ("add", [IMAGE, IMAGE], [], lambda x, y: x + y),
    ("add", [IMAGE, IMAGE], [], lambda x, y: torch.add(x, y, alpha=3.0)),
    ("add", [IMAGE, (B, 4, 1, 1)], [], lambda x, y: x + y),
    ("add", [IMAGE], [(4, 1, 1)], lambda x, w: w + x),
    ("add", [IMAGE], [], lambda x: 2.0 + x + 1),
    ("sub", [IMAGE, IMAGE], [], lambda x, y: x - y),
    ("sub", [IMAGE], [], lambda x: 1.0 - x),
    ("mul", [IMAGE], [], lambda x: 3.0 * x * 0.5),
    ("mul", [IMAGE], [IMAGE], lambda x, w: w * x),
    ("div", [IMAGE], [(4, 1, 1)], lambda x, w: x.div(w)),
    ("truediv", [IMAGE], [], lambda x: x / 3),
    ("masked_fill", [IMAGE], [], lambda x: x.masked_fill(HALF, 0.7)),
    ("neg", [IMAGE], [], lambda x: -x),
]

# Of activations the gradient is that of the product of the means; of one and tensors without time they are linear.
LEFT, RIGHT = (B, 2, 4, 3), (B, 2, 3, 5)
PRODUCTS = [
    ("mul", [LEFT, LEFT], [], operator.mul),
    ("mul", [LEFT, (B, 2, 1, 1)], [], torch.mul),
    ("addcmul", [LEFT, LEFT, (B, 2, 1, 1)], [], lambda x, y, z: torch.addcmul(x, y, z, value=0.5)),
    ("linear", [(B, 4), (5, 4)], [], F.linear),
    ("linear", [(B, 6, 4), (5, 4)], [(5,)], F.linear),
    ("conv2d", [LEFT, (5, 2, 2, 2)], [], F.conv2d),
    ("conv_transpose1d", [(B, 2, 4), (2, 3, 2)], [], F.conv_transpose1d),
    ("mul", [LEFT], [], lambda x: x.mul(x)),
    ("matmul", [LEFT, RIGHT], [], torch.matmul),
    ("matmul", [LEFT, (B, 1, 3, 5)], [], torch.matmul),
    ("bmm", [(B, 4, 3), (B, 3, 5)], [], torch.bmm),
    ("einsum", [LEFT, RIGHT], [], lambda x, y: torch.einsum("bhij,bhjk->bihk", x, y)),
    ("einsum", [LEFT, LEFT], [], lambda x, y: torch.einsum("bhij,bhij->jb", [x, y])),
    ("matmul", [(B, 4), (4, B)], [], torch.matmul),
    ("einsum", [LEFT] * 3, [], lambda x, y, z: torch.einsum("bhid,bhjd,bhje->bhie", x, y, z)),
    ("einsum", [LEFT, RIGHT], [(B, 5)], lambda x, y, w: torch.einsum("bhij,bhjk,bk->bhi", x, y, w)),
    ("matmul", [(B, 6)], [(6,)], operator.matmul),
    ("matmul", [LEFT], [(3, 4)], torch.matmul),
    ("matmul", [LEFT], [(5, 4)], lambda x, w: w @ x),
    ("matmul", [LEFT], [(B, 2, 3, 4)], torch.matmul),
    ("bmm", [(B, 4, 3)], [(B, 3, 5)], torch.bmm),
    ("linear", [(5, 4)], [(B, 4)], lambda x, w: F.linear(w, x)),
    ("einsum", [LEFT], [(3, 4)], lambda x, w: torch.einsum("bhij,jk->bkih", x, w)),
    ("einsum", [LEFT], [(B, 2, 3, 5)], lambda x, w: torch.einsum("...ij,...jk->...ik", x, w)),
]

MAX_POOL = [
    ("max_pool2d", [IMAGE], [], lambda x: F.max_pool2d(x, 2)),
    ("max_pool2d", [IMAGE], [], lambda x: F.max_pool2d(x, 3, stride=2, padding=1)),
    ("max_pool3d", [CUBE], [], lambda x: F.max_pool3d(x, 2)),
    ("adaptive_max_pool3d", [CUBE], [], lambda x: F.adaptive_max_pool3d(x, 2)),
]

TIMELESS = {
    "ones_like": (torch.ones_like, 1.0),
    "full_like": (lambda x, **kwargs: torch.full_like(x, 0.5, **kwargs), 0.5),
    "new_zeros": (lambda x, **kwargs: x.new_zeros(x.shape, **kwargs), 0.0),
    "new_tensor": (lambda x, **kwargs: x.new_tensor(torch.ones(IMAGE).tolist(), **kwargs), 1.0),
}

# Other names of what one function carries out.
IN_FUZZ = [
    "conv1d", "conv_transpose1d", "conv_transpose2d", "avg_pool1d", "adaptive_avg_pool1d", "max_pool1d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "t", "swapaxes", "swapdims", "movedim", "unsqueeze", "unflatten",
    "expand_as", "select", "view", "view_as", "repeat", "tile", "gather", "flip", "pixel_shuffle", "pixel_unshuffle",
    "cumsum", "fold", "split", "tensor_split", "concat", "zeros_like", "empty_like", "new_ones", "new_full",
    "new_empty",
]  # fmt: skip
# By the test that has them.
ELSEWHERE = {
    "fuzz": IN_FUZZ,
    "batch_norm": ["batch_norm"],
    "dropout": ["dropout", "dropout1d", "dropout2d", "dropout3d"],
    "shape": ["detach", "clone", "numel", "is_floating_point", "is_contiguous"],
    "shape, of types": ["to", "type_as", "double", "float", "half", "bfloat16"],
    "nonlinear": ["group_norm", "layer_norm", "rms_norm", "normalize", "softmax", "log_softmax"],
    "nonlinear, other functions": [*POINTWISE, *REDUCTIONS],
    "attention": ["scaled_dot_product_attention", "multi_head_attention_forward"],
    "slope": ["amax", "amin", "max", "min", "topk"],
}


def parameters(shapes):
    """Values away from zero, because some cases divide by them."""
    tensors = [random(*shape, seed=100 + i) for i, shape in enumerate(shapes)]
    return [(t + torch.sign(t)).requires_grad_() for t in tensors]


def test_every_rule_has_a_test():
    elsewhere = {name for names in ELSEWHERE.values() for name in names}
    assert {name for name, *_ in LINEAR + PRODUCTS + MAX_POOL} | TIMELESS.keys() | elsewhere == RULES.keys()


@pytest.mark.parametrize("case", LINEAR + MAX_POOL, ids=lambda case: case[0])
def test_a_case_calls_its_rule_and_no_other(case):
    name, *shapes, operation = case
    assert names_called(operation, *shapes) == {name}


def names_called(operation, input_shapes, weight_shapes):
    seen = set()
    original = RULES.copy()

    def recording(name):
        def rule(*arguments):
            seen.add(name)
            return original[name](*arguments)

        return rule

    RULES.update({name: recording(name) for name in original})
    try:
        inputs = [SequenceTensor(Current.of(random(T, *shape, seed=i))) for i, shape in enumerate(input_shapes)]
        operation(*inputs, *parameters(weight_shapes))
    finally:
        RULES.update(original)
    return seen


@pytest.mark.parametrize("check", [checks.check_sequence, checks.check_rate_at_the_means, checks.check_static_image])
@pytest.mark.parametrize("case", LINEAR + PRODUCTS, ids=lambda case: case[0])
def test_a_linear_rule_or_a_product_has_the_values_of_each_step_and_its_gradient_at_the_mean(case, check):
    _, shapes, weight_shapes, operation = case
    check(operation, shapes, parameters(weight_shapes))


@pytest.mark.parametrize("name", ["add", "sub", "cat"])
def test_a_static_sequence_combines_with_a_varying_one_as_if_repeated(name):
    operation = next(operation for rule, *_, operation in LINEAR if rule == name)
    image, varying = random(*IMAGE, seed=1), random(T, *IMAGE, seed=2)
    expected = by_step(operation, [image.expand(T, *IMAGE), varying])
    out = operation(SequenceTensor(Current.constant(image, T)), SequenceTensor(Current.of(varying)))
    assert not out.current.static
    close(out.values(), expected)
    rates = [image.clone().requires_grad_(), varying.mean(0).requires_grad_()]
    rate = operation(RateTensor(Current.constant(image, T, rates[0])), RateTensor(Current.of(varying, rates[1])))
    close(rate.resolve().values(), expected)
    close(rate.rate(), expected.mean(0))
    same_gradients(rate.rate(), rates, operation(*rates))


@pytest.mark.parametrize(
    "check", [checks.check_sequence, checks.check_static_image, checks.check_rate_at_the_largest_mean]
)
@pytest.mark.parametrize("case", MAX_POOL, ids=lambda case: case[0])
def test_a_max_pool_is_that_of_each_step_and_of_a_static_image_once(case, check):
    _, shapes, _, operation = case
    check(operation, shapes)


@pytest.mark.parametrize("name", TIMELESS)
def test_a_new_tensor_is_plain_and_has_one_steps_shape(name):
    function, value = TIMELESS[name]
    current = Current.of(random(T, *IMAGE).requires_grad_())
    for carrier in (SequenceTensor(current), RateTensor(current)):
        constant = function(carrier)
        assert type(constant) is torch.Tensor
        assert torch.equal(constant, torch.full(IMAGE, value, dtype=torch.float64))
        assert not constant.requires_grad
        assert function(carrier, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("static", [True, False])
def test_a_carrier_has_the_shape_type_and_device_of_one_steps_batch(static):
    x = random(*IMAGE) if static else random(T, *IMAGE)
    current = Current.constant(x, T) if static else Current.of(x)
    for carrier in (SequenceTensor(current), RateTensor(current)):
        assert carrier.shape == torch.Size(IMAGE)
        assert carrier.size() == torch.Size(IMAGE)
        assert (carrier.size(1), carrier.size(-1), len(carrier)) == (4, 6, B)
        assert (carrier.ndim, carrier.dim(), carrier.timesteps) == (4, 4, T)
        assert (carrier.dtype, carrier.device, carrier.is_cuda) == (torch.float64, x.device, False)


@pytest.mark.parametrize("kind", ["sequence", "rate"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.add(x, other=x),
        lambda x: torch.add(torch.ones(4, 1, 1, dtype=torch.float64), other=x),
        lambda x: F.linear(input=x, weight=torch.ones(5, 6, dtype=torch.float64)),
        lambda x: F.avg_pool2d(input=x, kernel_size=2),
        lambda x: torch.flatten(input=x, start_dim=1),
        lambda x: F.max_pool2d(input=x, kernel_size=2),
        lambda x: F.batch_norm(input=x, running_mean=None, running_var=None, training=True),
        lambda x: F.dropout(input=x, training=False),
    ],
    ids=["add-carriers", "add-tensor", "linear", "avg_pool2d", "flatten", "max_pool2d", "batch_norm", "dropout"],
)
def test_a_carrier_passed_by_keyword_is_computed_correctly_or_refused(operation, kind):
    x = random(T, *IMAGE)
    try:
        out = operation((RateTensor if kind == "rate" else SequenceTensor)(Current.of(x)))
    except UnsupportedOperation:
        return
    values = out.resolve().values()
    close(values.flatten(0, 1), operation(x.flatten(0, 1)))
