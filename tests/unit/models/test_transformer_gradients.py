"""Spikformer and QKFormer as wholes: gradients of the methods compared with plain torch and autograd, in float64.

The network itself runs, on plain tensors [T·B, …] with other modules in the place of neurons, batch norms and max
pools; products of two activations are found by their names. For the rate methods it runs a second time, on means.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from rbp_engine.methods import create_method
from rbp_engine.models.qkformer import Stage, TokenQKAttention, qkformer
from rbp_engine.models.spikformer import SpikingSelfAttention, spikformer
from tests.fuzz.networks import Neuron as Cell
from tests.fuzz.oracles import Membrane, channels, mean, slopes_of_rate, with_value

T, B, CLASSES = 3, 4, 3
LABELS = torch.tensor([0, 1, 2, 0])
PRODUCTS = ("matmul", "mul")


class Oracle(TorchFunctionMode):
    """A pass over the network; notes the mean of every product of two activations, and gives it in the second pass."""

    def __init__(self, method):
        super().__init__()
        self.by_step, self.through_time = method in ("rate_s", "bptt_s", "sltt"), method != "sltt"
        self.means, self.second, self.inside_layer = [], False, False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        is_product = function.__name__ in PRODUCTS and all(isinstance(x, torch.Tensor) for x in args)
        if not is_product or self.inside_layer:
            return out
        if self.second:
            return with_value(out, self.means.pop(0))
        self.means.append(out.detach().unflatten(0, (T, B)).mean(0))
        return out


class Layer(nn.Module):
    """In the place of a module: sees T·B samples in the first pass; in the second a mean, whose value it knows."""

    def __init__(self, layer, oracle):
        super().__init__()
        self.layer, self.oracle = layer, oracle

    def forward(self, x):
        self.oracle.inside_layer = True
        if self.oracle.second:
            out = with_value(self.at_mean(x), self.mean)
        else:
            steps = list(self.of_steps(x.unflatten(0, (T, B)).unbind(0)))
            self.mean, out = mean(steps).detach(), torch.cat(steps)
        self.oracle.inside_layer = False
        return out


class Neuron(Layer):
    def of_steps(self, currents):
        self.eligibility = slopes_of_rate(self.layer, [current.detach() for current in currents])[0]
        membrane = Membrane(self.layer, [], self.oracle.through_time)
        return [membrane(current) for current in currents]

    def at_mean(self, c):
        return c * self.eligibility


class Norm(Layer):
    """Statistics of all timesteps together, or of each by itself."""

    def of_steps(self, x):
        groups = x if self.oracle.by_step else [torch.cat(x)]
        moments = [(g.mean((0, 2, 3)), (g.var((0, 2, 3), unbiased=False) + self.layer.eps) ** -0.5) for g in groups]
        self.moments = [mean(values).detach() for values in zip(*moments, strict=True)]
        moments = moments if self.oracle.by_step else moments * T
        return [self.affine(x_t, *of_step) for x_t, of_step in zip(x, moments, strict=True)]

    def at_mean(self, r):
        average, inverse = self.moments
        moving_mean = with_value(r.mean((0, 2, 3)), average)
        moving_variance = with_value(((r - channels(average, r)) ** 2).mean((0, 2, 3)), inverse**-2)
        return self.affine(r, moving_mean, moving_variance**-0.5)

    def affine(self, x, average, inverse):
        normalised = (x - channels(average, x)) * channels(inverse, x)
        return channels(self.layer.weight, x) * normalised + channels(self.layer.bias, x)


class Pool(Layer):
    def of_steps(self, x):
        return [self.layer(x_t) for x_t in x]

    def at_mean(self, r):
        return self.layer(r)


def replaced(model, oracle):
    kinds = {Cell: Neuron, nn.BatchNorm2d: Norm, nn.MaxPool2d: Pool}
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in kinds:
                setattr(parent, name, kinds[type(child)](child, oracle))
    return model


def expected(model, method, images):
    """The mean logits, and the gradients in the order of the parameters."""
    oracle = Oracle(method)
    plain = replaced(model, oracle)
    with oracle:
        logits = plain(images.flatten(0, 1)).unflatten(0, (T, B))
    assert len(oracle.means) > 1
    if method.startswith("rate"):
        oracle.second = True
        with oracle:
            logits = [plain(images.mean(0))]
        assert oracle.means == []
    loss = mean([F.cross_entropy(each, LABELS) for each in (logits if method == "sltt" else [mean(logits)])])
    return mean(logits).detach(), torch.autograd.grad(loss, list(plain.parameters()))


def cell():
    return Cell(decay=0.4, threshold=0.6, surrogate="sigmoid", surrogate_args={"alpha": 3.0})


def small_spikformer():
    return spikformer(1, 16, 2, 2, num_classes=CLASSES, in_channels=2, neuron=cell)


def small_qkformer():
    stages = (
        Stage((8,), (False,), 1, TokenQKAttention),
        Stage((8, 16), (False, True), 1, SpikingSelfAttention, mlp_ratio=2),
    )
    return qkformer({4: False}, stages, 2, num_classes=CLASSES, in_channels=2, neuron=cell)


@pytest.mark.parametrize("method", ["bptt", "bptt_s", "rate_m", "rate_s", "sltt"])
@pytest.mark.parametrize("make", [small_spikformer, small_qkformer])
def test_the_gradient_of_a_whole_transformer_is_that_of_the_methods_equations(make, method):
    torch.manual_seed(1)
    model = make().double()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.6, 1.6)
            nn.init.normal_(norm.bias, 0.3, 0.2)
    images = torch.randn(T, B, 2, 4, 4, dtype=torch.float64)
    logits, gradients = expected(model, method, images)
    settings = {"loss_scale": "1"} if method.startswith("rate") else {}
    output = create_method(method, T, **settings).step(model, images, LABELS)
    torch.testing.assert_close(output.logits, logits, rtol=1e-10, atol=1e-10)
    for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        assert gradient.abs().max() > 1e-7, name
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")
