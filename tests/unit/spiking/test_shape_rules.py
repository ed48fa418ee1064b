"""What the rule table's test leaves out: in-place operations, views, conversions, and tensors without time."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.spiking import LIF, RateTensor, SequenceTensor, UnsupportedOperation
from rbp_engine.spiking.current import Current

T, B = 3, 2


def carrier(kind, *shape, seed=0):
    x = torch.randn(T, *(shape or (B, 4)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return RateTensor(Current.of(x, x.mean(0).requires_grad_())) if kind == "rate" else SequenceTensor(Current.of(x))


def values(x):
    return x.resolve().values()


KINDS = pytest.mark.parametrize("kind", ["rate", "sequence"])
IN_PLACE = {
    "x += y": (operator.iadd, operator.add),
    "x -= y": (operator.isub, operator.sub),
    "x += 2": (lambda x, y: operator.iadd(x, 2.0), lambda x, y: x + 2.0),
    "x *= 2": (lambda x, y: operator.imul(x, 2.0), lambda x, y: x * 2.0),
    "x /= 2": (lambda x, y: operator.itruediv(x, 2.0), lambda x, y: x / 2.0),
    "x.add_(y, alpha=2)": (lambda x, y: x.add_(y, alpha=2.0), lambda x, y: x + 2.0 * y),
    "x.mul_(w)": (lambda x, y: x.mul_(torch.full((4,), 3.0)), lambda x, y: x * 3.0),
    "x.neg_()": (lambda x, y: x.neg_(), lambda x, y: -x),
    "x.unsqueeze_(1)": (lambda x, y: x.unsqueeze_(1), lambda x, y: x.unsqueeze(1)),
}


@KINDS
@pytest.mark.parametrize("case", IN_PLACE)
def test_an_operation_in_place_changes_the_value_under_all_its_names_as_for_tensors(case, kind):
    in_place, plain = IN_PLACE[case]
    x, y = carrier(kind), carrier(kind, seed=1)
    other_name, copied, before = x, x.clone(), values(x).clone()
    expected = plain(x, y)
    out = in_place(x, y)
    assert out is x
    assert torch.equal(values(other_name), values(expected))
    assert torch.equal(values(copied), before)
    if kind == "rate":
        assert torch.equal(x.rate(), expected.rate())
        assert x.rate().requires_grad


@KINDS
def test_an_operation_in_place_keeps_the_type(kind):
    x = carrier(kind).float()
    x += torch.ones(4, dtype=torch.float64)
    assert x.dtype == torch.float32


@KINDS
def test_what_a_view_was_made_of_cannot_be_used_after_the_view_was_changed_in_place(kind):
    x = carrier(kind)
    view = x.view(B, 2, 2)
    view += 1.0
    assert torch.equal(values(view), values(carrier(kind)).unflatten(-1, (2, 2)) + 1.0)
    for use in (lambda: x + 1, lambda: LIF()(x)):
        with pytest.raises(UnsupportedOperation, match=r"view of its argument was changed by 'iadd'.*x = x \+ y"):
            use()


def view_of_copy(x):
    x += 1.0
    copied = x.clone()
    return copied.t(), copied


VIEWS = {
    "a view of what was changed": lambda x: (x.flatten(1), x),
    "a part beside a view that was changed": lambda x: (x[:, :2], x.detach()),
    "contiguous": lambda x: (x.contiguous(), x),
    "a view of a copy of what was changed before": view_of_copy,
}


@KINDS
@pytest.mark.parametrize("case", VIEWS)
def test_a_view_cannot_be_used_after_its_memory_was_changed_by_another_name(case, kind):
    x = carrier(kind)
    view, changed = VIEWS[case](x)
    changed += 1.0
    with pytest.raises(UnsupportedOperation, match="changed by 'iadd', or what it is a view of"):
        view * 2.0


PARTS = {
    "an index": lambda x: (x[:, :2], x),
    "a view of an index": lambda x: (x[:, :2].t(), x),
    "one of two pieces": lambda x: x.chunk(2, 1),
    "two indices": lambda x: (x[:, :2], x[:, 2:]),
}


@KINDS
@pytest.mark.parametrize("case", PARTS)
def test_a_part_can_be_changed_in_place_and_nothing_else_there_can_be_used_then(case, kind):
    x = carrier(kind)
    part, other = PARTS[case](x)
    before = values(part).clone()
    part += 1.0
    assert torch.equal(values(part), before + 1.0)
    with pytest.raises(UnsupportedOperation, match="changed by 'iadd', or what it is a view of"):
        other * 2.0


@KINDS
def test_an_assignment_to_a_part_is_refused_with_what_to_write(kind):
    for assign in (lambda x: operator.setitem(x, 0, 1.0), lambda x: operator.setitem(x, 0, operator.iadd(x[0], 1.0))):
        with pytest.raises(UnsupportedOperation, match=r"'setitem'.*torch\.cat or torch\.where"):
            assign(carrier(kind))


@KINDS
@pytest.mark.parametrize("copy", [lambda x: x.flatten(1).clone(), lambda x: x.flip(1), lambda x: F.pad(x, (1, 0))])
def test_what_a_copy_was_made_of_can_be_used_after_the_copy_was_changed_in_place(copy, kind):
    x = carrier(kind)
    copied = copy(x)
    copied += 1.0
    assert torch.equal(values(x), values(carrier(kind)))
    assert torch.equal(values(x * 2.0), values(carrier(kind)) * 2.0)


@KINDS
def test_a_parameter_as_large_as_the_spikes_has_the_gradient_of_their_product(kind):
    x, factor = carrier(kind), torch.ones(4, dtype=torch.float64, requires_grad=True)
    out = factor.expand_as(x) * x
    (out.rate() if kind == "rate" else out.time_mean()).sum().backward()
    torch.testing.assert_close(factor.grad, values(x).mean(0).sum(0))


@KINDS
@pytest.mark.parametrize("name", ["float", "half", "bfloat16"])
def test_a_conversion_has_the_type_and_the_gradient(name, kind):
    x = carrier(kind)
    out, plain = getattr(x, name)(), getattr(values(x), name)()
    assert out.dtype == plain.dtype
    assert torch.equal(values(out), plain)
    if kind == "rate":
        leaf = x.current.terms[0].steps.grad_proxy
        assert torch.equal(torch.autograd.grad(out.rate().sum(), leaf)[0], torch.ones(B, 4, dtype=torch.float64))


@KINDS
def test_what_has_the_type_already_stays_as_it_is(kind):
    x = carrier(kind)
    assert x.double() is x
    assert x.to("cpu", torch.float64) is x
    assert x.to(x) is x
    assert x.type_as(torch.ones((), dtype=torch.float64)) is x
    assert x.type_as(torch.ones(())).dtype == torch.float32


@KINDS
def test_a_tensor_without_time_takes_the_shape_or_type_of_a_carrier_and_stays_what_it_is(kind):
    x, positions = carrier(kind), torch.arange(float(B * 4))
    shaped = [positions.view_as(x), positions.reshape_as(x)]
    assert all(torch.equal(found, positions.view(B, 4)) for found in shaped)
    converted = [positions.to(x), positions.type_as(x)]
    assert all(torch.equal(found, positions.double()) and found.dtype == x.dtype for found in converted)


def test_detached_is_the_value_without_its_gradient():
    x = carrier("rate").detach()
    assert not x.rate().requires_grad
    assert torch.equal(values(x), values(carrier("rate")))


@KINDS
def test_a_carrier_says_what_its_batch_is(kind):
    x = carrier(kind)
    assert (x.numel(), torch.numel(x), x.is_floating_point(), x.is_contiguous()) == (8, 8, True, True)


@KINDS
def test_a_convolution_may_pad_in_a_circle(kind):
    x = carrier(kind, B, 4, 5, 5)
    layer = nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular").double()
    expected = torch.stack([layer(x_t) for x_t in values(x)])
    torch.testing.assert_close(values(layer(x)), expected)
