"""Rules that people give to operations of their own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor, UnsupportedOperation, register_rule
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.rules import rule_table

T, B = 3, 4


def upside_down(x):
    """An operation of somebody's own, in C++ for all that torch knows."""
    if has_torch_function_unary(x):
        return handle_torch_function(upside_down, (x,), x)
    return x.flip(2)


def squared(x):
    if has_torch_function_unary(x):
        return handle_torch_function(squared, (x,), x)
    return x * x


@pytest.fixture(autouse=True)
def no_rules_are_left(monkeypatch):
    monkeypatch.setattr(rule_table, "OWN_RULES", {})


def gradients(operation, name, timesteps=T):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fire, self.head = nn.Conv2d(2, 4, 3), LIF(0.5, 0.5), nn.Linear(36, 3)

        def forward(self, x):
            return self.head(operation(self.fire(self.conv(x))).flatten(1))

    torch.manual_seed(0)
    model = Network().double()
    images = torch.randn(timesteps, B, 2, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    create_method(name, timesteps).step(model, images, torch.arange(B) % 3)
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("kind", ["batch", "step", "product"])
@pytest.mark.parametrize("name", METHODS)
def test_a_linear_operation_with_a_rule_trains_as_if_written_with_rbps_own(name, kind):
    with pytest.raises(UnsupportedOperation, match="'upside_down' has no rule"):
        gradients(upside_down, name)
    register_rule("upside_down", kind)
    torch.testing.assert_close(
        gradients(upside_down, name), gradients(lambda x: x.flip(2), name), rtol=1e-12, atol=1e-12
    )


def test_an_operation_that_is_not_linear_has_its_mean_value_and_the_gradient_at_the_mean():
    register_rule("squared", "at_mean")
    x = torch.randn(T, B, 5, dtype=torch.float64)
    rate = x.mean(0).requires_grad_()
    out = squared(RateTensor(Current.of(x, rate))).rate()
    torch.testing.assert_close(out, (x * x).mean(0))
    torch.testing.assert_close(torch.autograd.grad(out.sum(), rate)[0], 2 * rate.detach())


def test_at_one_timestep_all_methods_have_the_gradient_of_bptt():
    register_rule("squared", "at_mean")
    wanted = gradients(squared, "bptt", timesteps=1)
    for name in METHODS:
        torch.testing.assert_close(gradients(squared, name, timesteps=1), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "batch") for name in METHODS), *(("rate_m", kind) for kind in ("product", "at_mean"))]
)
def test_an_operation_that_returns_several_tensors_is_refused_by_name(name, kind):
    register_rule("sort", kind)
    with pytest.raises(UnsupportedOperation, match=r"'sort' .* returns a tensor, not sort"):
        gradients(lambda x: torch.sort(x)[0], name)


def test_an_operation_made_by_torch_library_can_have_one():
    @torch.library.custom_op("rbp_tests::doubled", mutates_args=())
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    register_rule("doubled", "batch")
    x = SequenceTensor(Current.of(torch.ones(T, B, 5)))
    for call in (doubled, torch.ops.rbp_tests.doubled):
        assert torch.equal(call(x).values(), torch.full((T, B, 5), 2.0))


def test_rbps_own_rules_cannot_be_replaced():
    with pytest.raises(ValueError, match="'conv2d' has a rule already"):
        register_rule("conv2d", "batch")


def test_an_unknown_kind_is_an_error_that_lists_the_kinds():
    with pytest.raises(ValueError, match="no kind 'lineal'; the kinds are batch, step, numbers"):
        register_rule("upside_down", "lineal")


def test_a_rule_of_ones_own_does_not_change_an_operation_of_another_name():
    register_rule("upside_down", "batch")
    with pytest.raises(UnsupportedOperation, match="'rrelu'"):
        F.rrelu(SequenceTensor(Current.of(torch.ones(T, B, 5))))
