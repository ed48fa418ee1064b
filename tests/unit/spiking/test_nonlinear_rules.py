"""Norms, activations, softmax, functions of several activations and maxima: values step by step, and the gradients of
the rate methods.
"""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor, UnsupportedOperation
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.rules.nonlinear_rules import warn_of_numbers
from tests.unit.spiking import rule_checks as checks
from tests.unit.spiking.rule_checks import B, T, by_rate_m, by_rate_s, by_step, close, gradients, random, tensors

C, EPS = 4, 1e-3
SHAPE = (B, C, 3, 5)


# (the operation of x and parameters, the parameters' shapes); tests/fuzz has the gradients of the rate methods
NORMS = {
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b, EPS), [(C,), (C,)]),
    "group_norm without weight": (lambda x: F.group_norm(x, 1, eps=EPS), []),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b, EPS), [(5,), (5,)]),
    "layer_norm without bias": (lambda x, w: F.layer_norm(x, (5,), w, None, EPS), [(5,)]),
    "layer_norm of the sample": (lambda x: F.layer_norm(x, (C, 3, 5), eps=EPS), []),
    "normalize": (F.normalize, []),
    "normalize the last": (lambda x: F.normalize(x, dim=-1), []),
    "softmax": (lambda x: F.softmax(x, -1), []),
    "softmax by method": (lambda x: x.softmax(dim=1), []),
    "log_softmax": (lambda x: F.log_softmax(x, -1), []),
    "rms_norm": (lambda x, w: F.rms_norm(x, (5,), w, EPS), [(5,)]),
    "rms_norm of the sample": (lambda x: F.rms_norm(x, (C, 3, 5), eps=EPS), []),
}
# Functions of the numbers of a row, and of one number, one for each way to write them: their slopes are averaged over
# time. tests/fuzz has each by its name.
SLOPED = {
    "norm": lambda x: x.norm(p=2, dim=(2, 3), keepdim=True),
    "norm of one dimension": lambda x: torch.norm(x, 2, 1),
    "vector norm": lambda x: torch.linalg.vector_norm(x, 3, -1),
    "variance": lambda x: x.var((1, 2)),
    "variance, biased": lambda x: torch.var(x, dim=[2, 3], unbiased=False, keepdim=True),
    "standard deviation": lambda x: x.std(-1, keepdim=True),
    "logsumexp": lambda x: x.logsumexp(1),
    "product": lambda x: x.prod(-1),
    "relu": F.relu,
    "gelu by tanh": nn.GELU("tanh"),
    "clamp": lambda x: x.clamp(-0.3, 0.9),
    "clamp from below": lambda x: torch.clamp(x, min=0.1),
    "abs": abs,
    "exp": torch.exp,
    "number divided by it": lambda x: 2 / (x + 9),
    "power": lambda x: x**3,
    "power of a number": lambda x: 1.5**x,
}
# The operation, the shapes of the activations, and those of the parameters.
SEVERAL = {
    "quotient": (lambda x, y: x / (y + 9), [SHAPE, SHAPE], []),
    "quotient of a parameter": (lambda x, w: w / (x + 9), [SHAPE], [(C, 1, 1)]),
    "quotient of a row by its sum": (lambda x: x / (x + 9).sum(-1, keepdim=True), [SHAPE], []),
    "maximum": (torch.maximum, [SHAPE, SHAPE], []),
    "minimum": (torch.minimum, [SHAPE, (B, 1, 3, 5)], []),
    "larger by method": (lambda x, y: x.max(y), [SHAPE, SHAPE], []),
    "maximum with a parameter": (torch.maximum, [SHAPE], [(5,)]),
    "power": (lambda x, y: (x + 9) ** y, [SHAPE, SHAPE], []),
    "clamp by a parameter": (lambda x, w: torch.clamp(x, w), [SHAPE], [(5,)]),
}
SLOPES = {name: (function, [SHAPE], []) for name, function in SLOPED.items()} | SEVERAL
CASES = {name: (operation, [SHAPE], shapes) for name, (operation, shapes) in NORMS.items()} | SLOPES
# Two rules, one after the other, have the product of mean slopes instead.
del SLOPES["quotient of a row by its sum"]

pytestmark = pytest.mark.filterwarnings("ignore:.* that are no spikes")


@pytest.mark.parametrize("method", [by_rate_m, by_rate_s])
@pytest.mark.parametrize("name", NORMS)
def test_the_rate_of_a_norm_is_the_mean_of_the_steps_and_not_that_of_the_mean(name, method):
    operation, shapes = NORMS[name]
    x, parameters = random(T, *SHAPE), tensors(shapes, 20)
    out = method(operation, [x], [x.mean(0)], parameters).rate()
    close(out, by_step(operation, [x], parameters).mean(0))
    assert not torch.allclose(out, operation(x.mean(0), *parameters))


@pytest.mark.parametrize("name", SLOPES)
def test_the_rate_of_a_function_has_the_gradient_of_the_mean_slope_of_each_input(name):
    operation, shapes, parameter_shapes = SLOPES[name]
    checks.check_rate_with_mean_slopes(operation, shapes, tensors(parameter_shapes, 20))


@pytest.mark.parametrize("check", [checks.check_sequence, checks.check_static_image])
@pytest.mark.parametrize("name", CASES)
def test_steps_and_a_static_image_have_the_operations_own_gradient(name, check):
    operation, shapes, parameter_shapes = CASES[name]
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
    checks.check_rate_at_the_largest_mean(MAXIMA[name], [SHAPE])


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
        use(SequenceTensor(Current.of(x)))


class Network(nn.Module):
    """Two layers of neurons with the operation between them."""

    def __init__(self, operation):
        super().__init__()
        self.into, self.between, self.head = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)
        self.first, self.second, self.operation = LIF(threshold=0.3), LIF(threshold=0.3), operation

    def forward(self, x):
        x = self.operation(self.between(self.first(self.into(x))))
        return self.head(self.second(x).mean((2, 3)))


def global_response_norm(x):
    scale = x.norm(p=2, dim=(2, 3), keepdim=True)
    return x + x * (scale / (scale.mean(1, keepdim=True) + 0.1)) + x[:, :2].amax(1, keepdim=True)


LAYERS = {
    "group norm": lambda: nn.GroupNorm(2, 4),
    "layer norm": lambda: nn.LayerNorm(4),
    "gelu": nn.GELU,
    "global response norm": lambda: global_response_norm,
    "softmax": lambda: nn.Softmax(1),
    "a matrix": lambda: lambda x: x @ torch.eye(4),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_it_in_low_precision(method, layer):
    torch.manual_seed(0)
    model = Network(LAYERS[layer]())
    create_method(method, T, precision="bf16").step(model, torch.rand(T, B, 2, 6, 6), torch.tensor([0, 2]))
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_an_activation_in_place_changes_its_input_as_in_torch():
    x = random(T, *SHAPE)
    carrier = RateTensor(Current.of(x, x.mean(0)))
    out = F.relu(carrier, inplace=True)
    assert out is carrier
    close((carrier + 0.0).rate(), F.relu(x).mean(0))


def test_masked_attention_gives_the_masked_keys_no_gradient():
    mask = torch.tensor([False, True, False, False, True])
    x = random(T, *SHAPE)
    for method in (by_rate_m, by_rate_s):
        r = x.mean(0).requires_grad_()
        out = method(lambda y: y.masked_fill(mask, float("-inf")).softmax(-1), [x], [r]).rate()
        close(out, x.masked_fill(mask, float("-inf")).softmax(-1).mean(0))
        [gradient] = gradients(out, r)
        assert gradient.isfinite().all()
        assert not gradient[..., mask].any()
        assert gradient[..., ~mask].any()


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
    "softmax over the batch": (lambda x: x.softmax(0), "softmax.*batch"),
    "softmax over nothing named": (lambda x: F.softmax(x), "softmax.*name the dimensions"),
    "layer norm over the batch": (lambda x: F.layer_norm(x, SHAPE), "layer_norm.*batch"),
    "instance norm": (nn.InstanceNorm2d(C), "instance_norm.*GroupNorm with a group for each channel"),
    "prelu": (nn.PReLU(), "prelu.*put a neuron there"),
    "a product with a named tensor": (lambda x: F.linear(x, x, bias=torch.ones(5)), "linear.*by position"),
    "another norm": (lambda x: F.normalize(x, p=1), "normalize.*p=2"),
    "normalize over the batch": (lambda x: F.normalize(x, dim=0), "normalize.*batch"),
    "clamp by a named tensor": (lambda x: x.clamp(max=torch.ones(5)), "clamp.*by position"),
    "log_softmax over the batch": (lambda x: x.log_softmax(0), "log_softmax.*batch"),
    "RMS norm over the batch": (lambda x: F.rms_norm(x, SHAPE), "rms_norm.*batch"),
    "norm of everything": (lambda x: x.norm(), "norm.*name the dimensions"),
    "variance over the batch": (lambda x: x.var((0, 2)), "var.*batch"),
    "standard deviation of everything": (lambda x: x.std(False), "std.*name the dimensions"),
}


@pytest.mark.filterwarnings("ignore:Implicit dimension")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_computed_by_sample_and_step_is_refused_with_the_remedy(case):
    operation, message = REFUSED[case]
    with pytest.raises(UnsupportedOperation, match=message):
        operation(SequenceTensor(Current.of(random(T, *SHAPE))))


def test_a_network_with_an_activation_is_warned_of_once():
    model = Network(nn.Sequential(nn.ReLU(), nn.ReLU()))
    with warnings.catch_warnings(record=True) as caught:
        warn_of_numbers.cache_clear()  # another test may have had it
        for _ in range(2):
            warnings.simplefilter("default")  # with that, Python would show all of them again
            create_method("rate_s", T).step(model, torch.rand(B, 2, 6, 6), torch.tensor([0, 2]))
    assert [str(warning.message).split()[0] for warning in caught] == ["relu"]
