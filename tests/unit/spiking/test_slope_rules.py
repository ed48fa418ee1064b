"""Functions of several activations, maxima and quotients: values step by step, and the gradient of mean slopes."""

import pytest
import torch
from torch import nn

from rbp_engine.spiking import SequenceTensor, UnsupportedOperation
from tests.unit.spiking.rule_checks import (
    B,
    T,
    check_rate_at_the_largest_mean,
    check_rate_with_mean_slopes,
    check_sequence,
    check_static_image,
    random,
    tensors,
)

C = 4
SHAPE = (B, C, 3, 5)
pytestmark = pytest.mark.filterwarnings("ignore:.* that are no spikes")


# (shapes of the activations, shapes of parameters, the operation, the same of plain tensors where it differs)
SEVERAL = {
    "quotient": ([SHAPE, SHAPE], [], lambda x, y: x / (y + 9)),
    "quotient of a parameter": ([SHAPE], [(C, 1, 1)], lambda x, w: w / (x + 9)),
    "quotient of a row by its sum": ([SHAPE], [], lambda x: x / (x + 9).sum(-1, keepdim=True)),
    "maximum": ([SHAPE, SHAPE], [], torch.maximum),
    "minimum": ([SHAPE, (B, 1, 3, 5)], [], torch.minimum),
    "larger by method": ([SHAPE, SHAPE], [], lambda x, y: x.max(y)),
    "maximum with a parameter": ([SHAPE], [(5,)], torch.maximum),
    "power": ([SHAPE, SHAPE], [], lambda x, y: (x + 9) ** y),
    "clamp by a parameter": ([SHAPE], [(5,)], lambda x, w: torch.clamp(x, w)),
}
CASES = [pytest.param(*case, id=name) for name, case in SEVERAL.items()]


# Two rules, one after the other, have the product of mean slopes instead.
ONE_RULE = [pytest.param(*case, id=name) for name, case in SEVERAL.items() if name != "quotient of a row by its sum"]


@pytest.mark.parametrize(("shapes", "parameter_shapes", "operation"), ONE_RULE)
def test_the_rate_is_the_mean_of_the_steps_with_the_mean_slope_of_each_input(shapes, parameter_shapes, operation):
    check_rate_with_mean_slopes(operation, shapes, tensors(parameter_shapes, 20))


@pytest.mark.parametrize("check", [check_sequence, check_static_image])
@pytest.mark.parametrize(("shapes", "parameter_shapes", "operation"), CASES)
def test_steps_and_a_static_image_have_the_operations_own_gradient(shapes, parameter_shapes, operation, check):
    check(operation, shapes, tensors(parameter_shapes, 20))


MAXIMA = {
    "amax": lambda x: x.amax((2, 3)),
    "amin": lambda x: torch.amin(x, dim=-1, keepdim=True),
    "max": lambda x: x.max(1)[0],
    "max by name": lambda x: torch.max(x, dim=2, keepdim=True).values,
    "min": lambda x: x.min(-1).values,
    "topk": lambda x: x.topk(2, dim=1)[0],
}


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima_are_the_mean_of_the_steps_with_the_gradient_to_the_largest_mean(name):
    check_rate_at_the_largest_mean(MAXIMA[name], [SHAPE])


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.gather(1, x.max(1).indices),
        lambda x: torch.ones(5)[x.topk(2).indices],
        lambda x: x[:, x.max(-1)[1]],
    ],
)
def test_the_indices_of_maxima_cannot_be_used(use):
    x = random(T, *SHAPE)
    with pytest.raises((UnsupportedOperation, TypeError), match="differ"):
        use(SequenceTensor(x, T))


REFUSED = {
    "condition of spikes": (lambda x: torch.where(x, x, 0.0), "where.*condition must be the same at every step"),
    "quotient rounded down": (lambda x: torch.div(x, x, rounding_mode="floor"), "div.*without rounding_mode"),
    "maximum of other ranks": (lambda x: torch.maximum(x, x[0]), "maximum.*against"),
    "indices of the largest": (lambda x: x.argmax(1), "argmax.*indices differ"),
    "maximum of everything": (lambda x: x.max(), "max.*name the dimensions"),
    "maximum over the batch": (lambda x: x.amax((0, 1)), "amax.*leave out the batch"),
    "parameter by keyword": (
        lambda x: torch.pow(x, exponent=nn.Parameter(torch.tensor(2.0))),
        "pow.*by position, not by keyword",
    ),
    "recurrent layer": (lambda x: nn.LSTM(5, 3).double()(x[:, 0]), "lstm.*recurrent layers have no rule"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_stays_refused_says_what_to_do(case):
    operation, message = REFUSED[case]
    with pytest.raises(UnsupportedOperation, match=message):
        operation(SequenceTensor(random(T, *SHAPE), T))
