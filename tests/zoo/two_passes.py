"""The rate gradient of any network by two plain passes, with neither carriers nor autograd functions of the engine.

The first pass runs the network on plain tensors without a graph: for rate_m once on the T·B images of all steps, for
rate_s once for each step. A torch function mode sees every torch function that the network calls on an activation, and
notes the time mean of its output, and of the parts of its Jacobian. The second pass runs the same network on the mean
image [B, …] with autograd: every output gets the value that was noted for it, and the gradient of the function at the
means, or of a stand-in that is linear in the input and has the noted parts for factors.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rbp_engine.spiking import LIF

# They commute with the time mean: at the means they have their own value and gradient.
LINEAR = {
    "conv2d", "linear", "add", "sub", "neg", "iadd", "avg_pool2d", "adaptive_avg_pool2d", "interpolate", "mean", "sum",
    "flatten", "reshape", "view", "permute", "transpose", "contiguous", "unsqueeze", "squeeze", "expand", "roll",
    "getitem", "cat", "stack", "chunk", "split", "unbind", "float", "to", "masked_fill", "unflatten", "dropout", "pad",
}  # fmt: skip
# Products of two activations and maxima: the gradient is that at the means, the value is the mean over time.
AT_THE_MEANS = {"matmul", "bmm", "einsum", "mul", "addcmul", "max_pool2d"}
POINTWISE = {"sigmoid", "hardsigmoid", "gelu", "silu", "tanh", "relu", "hardswish"}
ALIKE = {
    "truediv": "quotient",
    "itruediv": "quotient",
    "div": "quotient",
    "norm": "reduction",
    "scaled_dot_product_attention": "attention",
}
# They tell about a tensor and compute nothing.
TOLD = {"size", "dim", "__get__", "__len__", "is_floating_point", "is_contiguous", "stride", "numel", "new_zeros"}


@dataclass
class Note:
    """Sums over the calls of the first pass; `means` after it."""

    function: str
    sums: list[Tensor] = field(default_factory=list)
    calls: int = 0

    def add(self, values: Sequence[Tensor]) -> None:
        values = [value.detach().clone() for value in values]
        self.sums = values if not self.calls else [a + b for a, b in zip(self.sums, values, strict=True)]
        self.calls += 1

    @property
    def means(self) -> list[Tensor]:
        return [value / self.calls for value in self.sums]


class Passes(TorchFunctionMode):
    """Both passes: `steps` timesteps are in the batch of each call of the first one, and `second` is the other."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.second, self.inside = steps, False, False
        self.notes: list[Note] = []
        self.next = 0
        self.activations: list[Tensor] = []

    def start(self, images: Tensor) -> Tensor:
        self.next, self.activations = 0, [images]
        return images

    def is_activation(self, value: object) -> bool:
        return any(value is known for known in self.activations)

    def mean(self, folded: Tensor) -> Tensor:
        """Of T·B samples, the time mean [B, …]."""
        return folded.unflatten(0, (self.steps, -1)).mean(0)

    def note(self, function: str) -> Note:
        if self.next == len(self.notes):
            self.notes.append(Note(function))
        note = self.notes[self.next]
        assert note.function == function, f"{function} in the second pass, {note.function} in the first"
        self.next += 1
        return note

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        flat = [x for arg in [*args, *kwargs.values()] for x in (arg if isinstance(arg, (tuple, list)) else [arg])]
        name = function.__name__.strip("_") if function.__name__ not in TOLD else function.__name__
        if self.inside or name in TOLD or not any(self.is_activation(x) for x in flat):
            return function(*args, **kwargs)
        kind = "pointwise" if name in POINTWISE else ALIKE.get(name, name)
        if kind == "quotient" and not self.is_activation(args[1]):
            kind = "add"
        if name == "itruediv":
            function = torch.div  # the parts of the Jacobian need the dividend as it was
        if kind in LINEAR:
            return self.linear(function, args, kwargs)
        rule = getattr(self, "at_the_means" if kind in AT_THE_MEANS else kind)
        return self.known(self.both(name, rule, function, args, kwargs))

    def known(self, out: Tensor) -> Tensor:
        self.activations.append(out)
        return out

    def both(self, name, rule, function, args, kwargs):
        """First the output, with the parts that `rule` finds; then its mean, with the gradient of the stand-in."""
        note = self.note(name)
        if self.second:
            value, *parts = note.means
            return with_value(rule(function, args, kwargs, parts), value)
        out = function(*args, **kwargs)
        note.add([self.mean(out), *rule(function, args, kwargs, None)])
        return out

    def linear(self, function, args, kwargs):
        out = function(*args, **kwargs)
        for each in out if isinstance(out, (tuple, list)) else [out]:
            self.known(each)
        return out

    def at_the_means(self, function, args, kwargs, parts):
        return [] if parts is None else function(*args, **kwargs)

    def pointwise(self, function, args, kwargs, parts):
        x, *rest = args
        if parts:
            return x * parts[0]
        return [self.mean(slope(lambda y: function(y, *rest, **kwargs | settings(kwargs)), x))]

    def reduction(self, function, args, kwargs, parts):
        x, *rest = args
        if parts:
            out = function(x, *rest, **kwargs)
            dims = tuple(d for d in range(x.ndim) if out.shape[d] != x.shape[d])
            return (x * parts[0]).sum(dims, keepdim=True)
        return [self.mean(slope(lambda y: function(y, *rest, **kwargs), x))]

    def quotient(self, function, args, kwargs, parts):
        a, b = args
        if parts:
            return a * parts[0] + b * parts[1]
        shape = torch.broadcast_shapes(a.shape, b.shape) if isinstance(a, Tensor) else b.shape
        return [self.mean((1 / b).expand(shape)), self.mean((-a / b**2).expand(shape))]

    def softmax(self, function, args, kwargs, parts):
        x = args[0]
        dim = args[1] if len(args) > 1 else kwargs["dim"]
        if parts is None:
            return [self.mean(function(*args, **kwargs))]
        return linear_softmax(x, parts[0], dim)

    def attention(self, function, args, kwargs, parts):
        given = inspect.signature(attention).bind(*args, **kwargs).arguments
        q, k, v = given["query"], given["key"], given["value"]
        scale = given.get("scale") or q.shape[-1] ** -0.5
        assert given.get("attn_mask") is None and not given.get("dropout_p") and not given.get("is_causal")
        scores = scale * q @ k.transpose(-2, -1)
        if parts is None:
            return [self.mean(scores.softmax(-1))]
        return with_value(linear_softmax(scores, parts[0], -1), parts[0]) @ v

    def layer_norm(self, function, args, kwargs, parts):
        names = ("x", "shape", "weight", "bias", "eps")
        given = dict(zip(names, args, strict=False)) | kwargs
        x, over = given["x"], tuple(range(-len(given["shape"]), 0))
        if parts is None:
            return [self.mean(part) for part in moments(x, over, given.get("eps", 1e-5))]
        y = normed(x, over, *parts)
        y = y if given.get("weight") is None else y * given["weight"]
        return y if given.get("bias") is None else y + given["bias"]

    def batch_norm(self, function, args, kwargs, parts):
        names = ("x", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = dict(zip(names, args, strict=False)) | kwargs
        x = given["x"]
        assert given["training"]
        over = tuple(dim for dim in range(x.ndim) if dim != 1)
        if parts is None:
            return moments(x, over, given["eps"])
        shape = (1, -1, *[1] * (x.ndim - 2))
        y = normed(x, over, *parts)
        return y if given["weight"] is None else y * given["weight"].reshape(shape) + given["bias"].reshape(shape)


class Neuron(nn.Module):
    """The default LIF by its formulas: u = λ·v + I, s = H(u − V_th), v = u − V_th·s; ρ = 1 + λ·ρ, g = mean(σ'·ρ)."""

    def __init__(self, lif: LIF, passes: Passes) -> None:
        super().__init__()
        assert lif.v_reset is None and lif.detach_reset and lif.surrogate.alpha == 4.0
        self.decay, self.threshold, self.passes = lif.decay, lif.threshold, passes
        # By the place of the call in the network: one layer may be used several times.
        self.state: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, current: Tensor) -> Tensor:
        self.passes.inside = True
        place, note = self.passes.next, self.passes.note("neuron")
        if self.passes.second:
            value, eligibility = note.means
            out = with_value(current * eligibility, value)
        else:
            out = self.fire(current, place, note)
        self.passes.inside = False
        return self.passes.known(out)

    def fire(self, current: Tensor, place: int, note: Note) -> Tensor:
        currents = current.unflatten(0, (self.passes.steps, -1))
        v, rho = self.state.get(place, (torch.zeros_like(currents[0]), torch.zeros_like(currents[0])))
        spikes, terms = [], []
        for current_t in currents:
            u = self.decay * v + current_t
            s = (u >= self.threshold).to(u.dtype)
            v, rho = u - self.threshold * s, 1 + self.decay * rho
            sigmoid = torch.sigmoid(4.0 * (u - self.threshold))
            spikes.append(s)
            terms.append(4.0 * sigmoid * (1 - sigmoid) * rho)
        self.state[place] = v, rho
        note.add([torch.stack(spikes).mean(0), torch.stack(terms).mean(0)])
        return torch.cat(spikes)


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False):
    """The signature of F.scaled_dot_product_attention, which is written in C."""


def moments(x: Tensor, over: tuple[int, ...], eps: float) -> list[Tensor]:
    return [x.mean(over, keepdim=True), (x.var(over, keepdim=True, unbiased=False) + eps) ** -0.5]


def normed(r: Tensor, over: tuple[int, ...], average: Tensor, inverse: Tensor) -> Tensor:
    """The normalised r, whose statistics have the noted values and the derivatives of the mean and variance of r."""
    variance = with_value(((r - average) ** 2).mean(over, keepdim=True), inverse**-2)
    return (r - with_value(r.mean(over, keepdim=True), average)) * variance**-0.5


def linear_softmax(r: Tensor, p: Tensor, dim: int) -> Tensor:
    return p * r - p * (p * r).sum(dim, keepdim=True)


def slope(function, x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        return torch.autograd.grad(function(leaf).sum(), leaf)[0]


def settings(kwargs: dict) -> dict:
    """Nothing in place: the input is needed as it was."""
    return {"inplace": False} if "inplace" in kwargs else {}


def with_value(graph: Tensor, value: Tensor) -> Tensor:
    """A tensor with the value of `value` and the gradient of `graph`."""
    return value.detach() + (graph - graph.detach())


def rate_gradients(
    network: nn.Module, images: Tensor, labels: Tensor, timesteps: int, method: str
) -> dict[str, Tensor]:
    """The gradients of cross entropy by rate_m or rate_s, of a network whose neurons are LIF and static images."""
    network = copy.deepcopy(network)
    folded = timesteps if method == "rate_m" else 1
    passes = Passes(folded)
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):
            if isinstance(child, LIF):
                setattr(module, name, Neuron(child, passes))
    with torch.no_grad(), passes:
        for _ in range(timesteps // folded):
            network(passes.start(torch.cat([images] * folded)))
    passes.second = True
    with passes:
        logits = network(passes.start(images.clone()))
    assert passes.next == len(passes.notes)
    F.cross_entropy(logits, labels).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
