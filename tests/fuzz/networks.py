"""Random networks from a seed, and the images that they are trained on.

A network is a directed acyclic graph of neurons and of the operations in the rule table. Layers and their outputs may
be used more than once, and unused outputs remain now and then.
"""

import math
import re
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.spiking import LIF
from rbp_engine.spiking.surrogate import SURROGATES, create_surrogate

FIRE = "fire"
CLASSES = 3


@dataclass(frozen=True)
class Node:
    """One use of the layer with this number. Input 0 is the image, input n the output of the n-th node."""

    operation: str
    layer: int
    inputs: tuple[int, ...]


class Network(nn.Module):
    """The nodes in the order in which they are computed; the last one's output is the logits."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList()
        self.nodes = []

    def forward(self, images):
        outputs = [images]
        self.extend(outputs, self.nodes)
        return outputs[-1]

    def extend(self, outputs, nodes):
        """Append the outputs of these nodes to those of the nodes before."""
        for node in nodes:
            outputs.append(self.layers[node.layer](*(outputs[number] for number in node.inputs)))

    def __str__(self):
        def line(number, node):
            layer = self.layers[node.layer]
            what = layer.describe() if isinstance(layer, (Apply, Neuron)) else str(layer)
            modes = "" if layer.training else " in evaluation mode"
            return f"  {number} = layer {node.layer}, {what}{modes}, of {', '.join(map(str, node.inputs))}"

        return "\n".join(line(number, node) for number, node in enumerate(self.nodes, start=1))


def turned(matrices):
    """Matrices [B, …, M, N] with their numbers in the shape [B, …, N, M]."""
    *dims, rows, columns = matrices.shape
    return matrices.reshape(*dims, columns, rows)


class Apply(nn.Module):
    """An expression of the activations x and y, and of a parameter w."""

    def __init__(self, expression, parameter=None):
        super().__init__()
        self.expression = expression
        self.function = eval(f"lambda w, x, y=None: {expression}", {"torch": torch, "F": F, "turned": turned})
        self.w = None if parameter is None else nn.Parameter(parameter)

    def forward(self, *inputs):
        return self.function(self.w, *inputs)

    def describe(self):
        return self.expression if self.w is None else f"{self.expression} with w {list(self.w.shape)}"


class Neuron(LIF):
    """A LIF neuron that remembers its settings, for the description."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.made_with = settings

    def describe(self):
        return f"LIF({', '.join(f'{name}={value!r}' for name, value in self.made_with.items())})"


# Functions with the mean slope of each number.
SMOOTH = [
    "F.selu(x)", "F.celu(x)", "F.softplus(x)", "F.softsign(x)", "F.logsigmoid(x)", "x.clip(-0.2, 0.5)",
    "x.clamp_min(0.1)", "(0.1 * x).exp()", "torch.expm1(0.1 * x)", "x.square()", "0.1 * x**3",
    "x.sin() + x.cos()", "x.clamp_max(0.2)", "torch.erf(x)", "x.abs()", "(x + 50.0).sqrt()", "(x + 50.0).rsqrt()",
    "(x + 50.0).log()", "(x + 50.0).log1p()", "50.0 * (x + 50.0).reciprocal()", "50.0 / (x + 50.0)",
]  # fmt: skip
# The expressions of an operation, by the ranks of its activations without the batch: EVERY rank, or ANY that has
# channels. Rank 0 is a number of each sample.
ANY = (1, 2, 3)
EVERY = (0, *ANY)
EXPRESSIONS = {
    "avg_pool1d": {(2,): ["F.avg_pool1d(x, 2)", "F.avg_pool1d(x, 3, 2, 1)"]},
    "avg_pool2d": {(3,): ["F.avg_pool2d(x, 2)", "F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)"]},
    "adaptive_avg_pool1d": {(2,): ["F.adaptive_avg_pool1d(x, 2)", "F.adaptive_avg_pool1d(x, 1)"]},
    "adaptive_avg_pool2d": {(3,): ["F.adaptive_avg_pool2d(x, 1)", "F.adaptive_avg_pool2d(x, (None, 2))"]},
    "max_pool1d": {(2,): ["F.max_pool1d(x, 2)", "F.max_pool1d(x, 3, 2, 1)"]},
    "max_pool2d": {(3,): ["F.max_pool2d(x, 2)", "F.max_pool2d(x, 3, stride=2, padding=1)"]},
    "adaptive_max_pool1d": {(2,): ["F.adaptive_max_pool1d(x, 2)"]},
    "adaptive_max_pool2d": {(3,): ["F.adaptive_max_pool2d(x, 2)", "F.adaptive_max_pool2d(x, (1, 2))"]},
    "flatten": {(2, 3): ["torch.flatten(x, 1)", "x.flatten(-2)"], (3,): ["x.flatten(start_dim=2)", "x.flatten(1, 2)"]},
    "reshape": {
        (0,): ["x.reshape(-1, 1)", "torch.reshape(x, (len(x), 1, 1))"],
        (1,): ["x.reshape(x.size(0), 1, -1)", "x.reshape(len(x), -1, 1, 1)"],
        (2,): ["x.reshape(x.shape[0], 1, *x.shape[1:])"],
        (2, 3): ["x.reshape(x.shape[0], -1)"],
        (3,): ["torch.reshape(x, (x.shape[0], x.shape[1], -1))"],
    },
    "view": {
        (0,): ["x.contiguous().view(-1, 1)"],
        (1,): ["x.contiguous().view(x.size(0), 1, -1)"],
        (2, 3): ["x.contiguous().view(x.size(0), -1)"],
        (3,): ["x.contiguous().view((x.size(0), x.size(1), -1))"],
    },
    "contiguous": {EVERY: ["x.contiguous()"]},
    "mean": {
        (2, 3): ["x.mean(1)", "torch.mean(x, dim=-1)", "x.mean(axis=1)"],
        (3,): ["x.mean((2, 3))", "x.mean(dim=[2, 3], keepdim=True)"],
    },
    "sum": {(2, 3): ["torch.sum(x, 1, keepdim=True)", "x.sum(-1)"], (3,): ["x.sum((-1, -2))"]},
    "getitem": {
        ANY: ["x[:, 1:]", "x[:, ::2]"],
        (0,): ["x[:, None]", "x[..., None, None]"],
        (2, 3): ["x[:, 0]", "x[:, :, 1:]"],
        (3,): ["x[:, :, -1]", "x[:, 1:, ::2, -1]"],
    },
    "cat": {ANY: ["torch.cat([x, y], 1)"], (2, 3): ["torch.cat((x, y, x), dim=-1)"]},
    "add": {EVERY: ["x + y", "torch.add(x, y, alpha=0.6)", "x.add(y)", "x + x", "x + w", "w + x", "0.3 + x"]},
    "sub": {EVERY: ["x - y", "torch.sub(x, other=y)", "0.7 - x", "x - w", "torch.sub(w, x)"]},
    "mul": {EVERY: ["0.8 * x", "x * w", "torch.mul(w, x)", "x.mul(-1.3)", "x * y", "0.5 * x.mul(y)"]},
    "matmul": {
        (1,): ["x @ (0.4 * torch.ones(x.shape[1], 3, dtype=x.dtype))"],
        (2,): ["0.3 * torch.matmul(x, y)", "0.3 * torch.matmul(w.reshape(1, -1), x)", "0.3 * x @ turned(x)"],
        (3,): ["0.3 * x @ turned(y)", "0.3 * x @ turned(x)", "0.3 * x @ turned(w.expand(x.shape[1:]))"],
    },
    "bmm": {(2,): ["0.3 * torch.bmm(x, turned(y))", "0.3 * x.bmm(turned(x))"]},
    "einsum": {
        (2,): ["0.3 * torch.einsum('bci,bdi->bcd', x, y)", "0.3 * torch.einsum('...ci,...di->...cd', x, x)"],
        (3,): ["0.3 * torch.einsum('bcij,bcik->bcjk', x, y)", "torch.einsum('bcij,cij->bjc', x, w)"],
    },
    # Activations in the place of a layer's weight; one channel, because there are as many as samples.
    "weights": {
        (1,): ["0.3 * F.linear(x, y).sum(1, keepdim=True)", "0.3 * F.linear(x, x).sum(1, keepdim=True)"],
        (2,): ["0.3 * F.conv1d(x, y[:, :, :2]).sum(1, keepdim=True)"],
        (3,): ["0.3 * F.conv2d(x, y[:, :, :2, -2:], padding=1).sum(1, keepdim=True)"],
    },
    "div": {EVERY: ["torch.div(x, 1.6)", "x.div(w)"]},
    "truediv": {EVERY: ["x / 1.4", "x / w"]},
    "masked_fill": {ANY: ["x.masked_fill(torch.ones(x.shape[-1]).cumsum(0) % 2 == 0, 0.4)"]},
    "group_norm": {
        (2, 3): ["F.group_norm(x, 1, eps=0.1)", "F.group_norm(x, x.shape[1], eps=0.05)"],
        (1,): ["F.group_norm(x, 1, eps=0.1)"],
    },
    "layer_norm": {
        ANY: ["F.layer_norm(x, x.shape[-1:], eps=0.1)", "F.layer_norm(x, x.shape[1:], w.expand(x.shape[1:]), eps=0.1)"]
    },
    "normalize": {ANY: ["F.normalize(x + 0.3, dim=1)"], (2, 3): ["F.normalize(0.2 + x, dim=-1)"]},
    "softmax": {ANY: ["x.softmax(-1)", "torch.softmax(x, axis=1)"]},
    "relu": {EVERY: ["F.relu(x)"]},
    "relu6": {EVERY: ["F.relu6(4.0 * x)"]},
    "leaky_relu": {EVERY: ["F.leaky_relu(x, 0.2)"]},
    "elu": {EVERY: ["F.elu(x)"]},
    "gelu": {EVERY: ["F.gelu(x)"]},
    "silu": {EVERY: ["F.silu(x)"]},
    "mish": {EVERY: ["F.mish(x)"]},
    "sigmoid": {EVERY: ["torch.sigmoid(x)", "x.sigmoid()"]},
    "tanh": {EVERY: ["x.tanh()"]},
    "hardtanh": {EVERY: ["F.hardtanh(x, -0.3, 0.6)"]},
    "hardswish": {EVERY: ["F.hardswish(x)"]},
    "hardsigmoid": {EVERY: ["F.hardsigmoid(x)"]},
    "clamp": {EVERY: ["x.clamp(-0.3, 0.6)", "x.clamp(min=0.1)"]},
    "neg": {EVERY: ["-x", "torch.neg(x)"]},
    "rms_norm": {ANY: ["F.rms_norm(x, x.shape[-1:], eps=0.1)"]},
    "log_softmax": {ANY: ["x.log_softmax(1)", "F.log_softmax(x, -1)"]},
    "ones_like": {EVERY: ["torch.ones_like(x) - x"]},
    "zeros_like": {EVERY: ["x + torch.zeros_like(x)"]},
    "interpolate": {
        (2, 3): ["F.interpolate(x, scale_factor=2)"],
        (3,): ["F.interpolate(x, (3, 5), mode='bilinear')"],
    },
    "number": {
        (1,): ["x.mean(1)", "x.sum(-1)", "x[:, 0]"],
        (2, 3): ["x.flatten(1).mean(1)", "x[(..., *[-1] * (x.ndim - 1))]"],
    },
    # Functions with the mean slope: of each number, and of the numbers of a row.
    "smooth": {EVERY: SMOOTH},
    "rows": {
        ANY: [
            "(x + 0.3).norm(2, -1, keepdim=True)",
            "torch.linalg.vector_norm(x + 0.3, 2, 1, keepdim=True)",
            "x.var(axis=1, unbiased=False, keepdims=True)",
            "x.logsumexp(-1, keepdim=True)",
            "torch.cat([x, x + 1.0], 1).std(1, keepdim=True)",
            "(0.5 + 0.3 * x).prod(-1, keepdim=True)",
        ]
    },
    "maxima": {
        (2, 3): ["x.amax(1, keepdim=True)", "x.amin(axis=-1)", "x.max(1)[0]", "x.min(-1).values", "x.topk(1, dim=1)[0]"]
    },
    # Rules that have no key of their own, several in one expression; some move the batch away and back.
    "moves": {
        ANY: [
            "x.transpose(0, 1).flip(0).swapaxes(0, 1)",
            "x.reshape(-1).roll(1).view(x.shape)",
            "x.flatten().unflatten(0, tuple(x.shape))",
            "torch.cat([w.expand(x.shape), x], 1)",
            "torch.where(torch.ones(x.shape[-1]).cumsum(0) % 2 == 0, x.cumsum(1), 0.4)",
            "torch.addcmul(x.flatten(1).reshape_as(x), x, w.detach().expand(x.shape[1:])).view_as(x)",
            "torch.concat(x.chunk(2, 1)[::-1], 1)",
            "torch.cat([*x.tensor_split(2, 1), y.expand_as(y)], 1)",
            "torch.cat(x.split(1, 1)[1:] + x.split(1, 1)[:1], 1)",
            "torch.stack(list(x[[1, 0]].index_select(0, torch.tensor([1, 0])) if len(x) == 2 else x))",
            "x.clone().add_(y).sub_(0.3)",
            "x.to(torch.float64).double().to(x.dtype) + x.detach()",
            "x + torch.arange(x.numel()).to(x).view_as(x) / x.numel()",
            "x.type_as(x) * x.new_full((len(x), *[1] * (x.ndim - 1)), 0.7)",
            "x.new_ones(x.shape) - x.new_zeros(x.shape) - x + torch.full_like(x, 0.1)",
            "x + x.new_empty(x.shape).fill_(x.numel() / 100) - torch.empty_like(x).fill_(0.1)",
            "x + x.new_tensor(0.2) if x.is_floating_point() and x.is_contiguous() is not None else x",
        ],
        (0,): ["x.unsqueeze(-1)", "x.t().expand(2, len(x)).t()", "torch.stack([x, y], 1)", "x.flip(0).flip(0)"],
        (1,): [
            "x.t().tile(1, 2).t().narrow(0, 0, len(x))",
            "x.unsqueeze(1).repeat(1, 2, 1)",
            "x[:, None].expand(-1, 2, -1).swapdims(1, 2)",
        ],
        (2,): ["x.mT", "x.movedim(0, 2).moveaxis(2, 0)", "x.repeat_interleave(2, 1)[..., 0].unsqueeze(1).squeeze()"],
        (3,): [
            "x.permute(1, 0, 3, 2).permute(1, 0, 2, 3)",
            "F.pad(x, (1, 1, 0, 1), mode='reflect')",
            "F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2)",
            "F.pixel_unshuffle(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2)",
            "F.fold(F.unfold(x, 2), x.shape[2:], 2)",
            "x.select(2, 0).gather(1, torch.zeros(len(x), 2, x.shape[3], dtype=torch.long))",
        ],
    },
}


def convolution(random, shape):
    channels, dims = shape[0], len(shape) - 1
    groups = random.choice([1, 1, channels])
    size, dilation = random.choice([1, 2, 3]), random.choice([1, 1, 2])
    same = size % 2 == 1 and random.random() < 0.2
    return (nn.Conv1d if dims == 1 else nn.Conv2d)(
        channels, groups * random.randint(1, 3), size, 1 if same else random.choice([1, 1, 2]),
        "same" if same else random.choice([0, 1]), dilation, groups, random.random() < 0.7,
    )  # fmt: skip


def transposed_convolution(random, shape):
    channels, dims = shape[0], len(shape) - 1
    groups = random.choice([1, 1, channels])
    return (nn.ConvTranspose1d if dims == 1 else nn.ConvTranspose2d)(
        channels, groups * random.randint(1, 2), 3, stride=2, padding=random.choice([1, 2]),
        output_padding=random.choice([0, 1]), groups=groups, bias=random.random() < 0.7,
    )  # fmt: skip


def linear(random, shape):
    return nn.Linear(shape[-1], random.randint(2, 5), bias=random.random() < 0.7)


def batch_norm(random, shape):
    return (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(
        shape[0], eps=random.choice([1e-5, 1e-3, 0.1]), momentum=random.choice([0.1, None, 1.0, random.random()]),
        affine=random.random() < 0.8, track_running_stats=random.random() < 0.9,
    ).train(random.random() < 0.85)  # fmt: skip


def dropout(kind):
    class InPlace(kind):
        """What it changes in place is what it returns."""

        def forward(self, x):
            x = x.clone()
            super().forward(x)
            return x

    def make(random, shape):
        share, inplace = random.uniform(0.1, 0.6), random.random() < 0.2
        return InPlace(share, inplace=True) if inplace else kind(share)

    return make


def neuron(random, shape):
    threshold, hard = random.choice([1.0, *(random.uniform(0.2, 1.2) for _ in range(7))]), random.random() < 0.5
    name, factor = random.choice([random.choice(sorted(SURROGATES)), "sigmoid"]), random.uniform(0.6, 1.5)
    default = create_surrogate(name)
    arguments = {argument: factor * getattr(default, argument) for argument in default._sg_param_names}
    decay = random.choice([0.0, 1.0, 0.2, random.random(), random.random()])
    made = Neuron(
        decay=decay,
        threshold=threshold,
        reset="hard" if hard else "soft",
        v_reset=random.choice([0.0, random.uniform(-0.6, 0.15)]) if hard else 0.0,
        detach_reset=random.random() < 0.5,
        surrogate=name,
        surrogate_args=random.choice([None, arguments]),
        **learnt(Random(f"{decay} {threshold}"), decay),
    )
    made.neurons_for(torch.zeros(1, *shape))  # what is learnt by channel gets its shape
    return made


def learnt(random, decay):
    """What a neuron learns, mostly nothing; not a decay of 0 or 1."""
    learn = random.choice([(), (), ("decay", "threshold"), ("decay",), ("threshold",)])
    learn = tuple(name for name in learn if name == "threshold" or 0.0 < decay < 1.0)
    return {"learn": learn, "learn_by": random.choice(["layer", "channel"])} if learn else {}


# For each operation its ranks and a function that makes a layer.
LAYERS = {
    "conv1d": ((2,), convolution),
    "conv2d": ((3,), convolution),
    "conv_transpose1d": ((2,), transposed_convolution),
    "conv_transpose2d": ((3,), transposed_convolution),
    "linear": (ANY, linear),
    "batch_norm": (ANY, batch_norm),
    "dropout": (EVERY, dropout(nn.Dropout)),
    "dropout1d": ((2,), dropout(nn.Dropout1d)),
    "dropout2d": ((3,), dropout(nn.Dropout2d)),
    FIRE: (EVERY, neuron),
}
OPERATIONS = sorted([*EXPRESSIONS, *LAYERS])
# Drawn more often than once in a round of all: the usual, and what few activations have the rank for.
OFTEN_BY_WEIGHT = {
    14: [FIRE],
    12: ["bmm"],
    9: ["max_pool1d"],
    6: ["moves", "conv1d", "conv2d", "batch_norm", "dropout1d", "max_pool2d"],
    5: ["avg_pool1d", "adaptive_max_pool1d"],
    4: ["number", "linear", "adaptive_avg_pool1d", "gelu", "smooth", "conv_transpose1d", "weights"],
    3: ["add", "interpolate", "adaptive_avg_pool2d", "masked_fill", "clamp", "rows", "maxima", "adaptive_max_pool2d",
        "conv_transpose2d"],
    2: [
        "getitem", "neg", "avg_pool2d", "dropout2d", "mul", "matmul", "einsum", "group_norm", "layer_norm",
        "normalize", "softmax", "relu", "mish", "leaky_relu", "cat", "rms_norm", "log_softmax",
        "ones_like", "zeros_like", "elu", "hardswish", "hardsigmoid", "relu6",
    ],
}  # fmt: skip
OFTEN = {name: weight for weight, names in OFTEN_BY_WEIGHT.items() for name in names}


class Drawing:
    """A network that grows node by node; `shapes` has the image's shape, then those of the nodes' outputs."""

    def __init__(self, random, image):
        self.random, self.network, self.shapes = random, Network(), [image]

    def grow(self):
        """Apply a random operation to a random node's output, mostly a late one; does nothing if it does not fit."""
        newest = len(self.shapes) - 1
        number = self.random.choice([newest, max(newest - 1, 0), self.random.randint(0, newest)])
        rank = len(self.shapes[number])
        if rank and self.random.random() < 0.15:
            self._residual_block(number)
            return
        fitting = [operation for operation in OPERATIONS if rank in ranks(operation)]
        [operation] = self.random.choices(fitting, [OFTEN.get(name, 1) for name in fitting])
        if ("max_pool" in operation or operation == "maxima") and not self._is_spikes(number):
            # Among equal values, rounding would decide which is the largest.
            number = self.add("add", self.add_layer(Apply("x + w", self._parameter(self.shapes[number]))), number)
        layer = self._used_before(operation, self.shapes[number]) if self.random.random() < 0.25 else None
        if layer is None:
            made = self._make(operation, self.shapes[number])
            other = self._second_input(made, number)
            if other is not None:
                self.add(operation, self.add_layer(made), number, *other)
        else:
            self.add(operation, layer, number)

    def _residual_block(self, number):
        """Add a neuron behind the sum of a batch norm and something else, as in most networks in practice."""

        def normalised():
            return self.add("batch_norm", self.add_layer(self._make("batch_norm", self.shapes[number])), number)

        other = normalised() if self.random.random() < 0.5 else number
        total = self.add("add", self.add_layer(Apply("x + y")), normalised(), other)
        self.add(FIRE, self.add_layer(self._make(FIRE, self.shapes[total])), total)

    def add(self, operation, layer, *inputs):
        """Add a node; returns its number."""
        self.network.nodes.append(Node(operation, layer, inputs))
        self.shapes.append(self._shape(self.network.layers[layer], *inputs))
        return len(self.network.nodes)

    def finish(self):
        """Put a linear layer on nearly every loose end; add them up; and sometimes apply a last operation."""
        used = {number for node in self.network.nodes for number in node.inputs}
        ends = [number for number in range(len(self.shapes)) if number not in used]
        total, *rows = [self._to_classes(end) for end in ends if end == ends[-1] or self.random.random() < 0.85]
        for row in rows:
            total = self.add("add", self.add_layer(Apply("x + y")), total, row)
        if self.random.random() < 0.3:
            operation = self.random.choice(["batch_norm", FIRE, "mul", "dropout"])
            made = self._make(operation, (CLASSES,)) if operation != "mul" else Apply("0.8 * x")
            self.add(operation, self.add_layer(made), total)

    def _to_classes(self, number):
        if not self.shapes[number]:
            number = self.add("view", self.add_layer(Apply("x.view(-1, 1)")), number)
        if len(self.shapes[number]) > 1:
            number = self.add("flatten", self.add_layer(Apply("torch.flatten(x, 1)")), number)
        return self.add("linear", self.add_layer(nn.Linear(self.shapes[number][0], CLASSES)), number)

    def _make(self, operation, shape):
        if operation in LAYERS:
            return LAYERS[operation][1](self.random, shape)
        choices = [text for fits, texts in EXPRESSIONS[operation].items() if len(shape) in fits for text in texts]
        expression = self.random.choice(choices)
        small = self.random.choice([shape, (*shape[:1], *[1] * (len(shape) - 1)), ()])
        return Apply(expression, self._parameter(small) if re.search(r"\bw\b", expression) else None)

    def _parameter(self, shape):
        """Values away from zero, because some expressions divide by them."""
        size, negative = 0.5 + torch.rand(shape), torch.rand(shape) < 0.3
        return torch.where(negative, -size, size)

    def _second_input(self, layer, number):
        """The further inputs of a layer that takes more than this node; None if nothing fits."""
        if not isinstance(layer, Apply) or not re.search(r"\by\b", layer.expression):
            return () if self._fits(layer, number) else None
        # Not itself: x - x is 0, and each batch norm of that makes rounding errors 300 times larger.
        alike = [y for y, shape in enumerate(self.shapes) if y != number and len(shape) == len(self.shapes[number])]
        fitting = [y for y in alike if self._fits(layer, number, y)]
        return (self.random.choice(fitting),) if fitting else None

    def _fits(self, layer, *inputs):
        try:
            shape = self._shape(layer, *inputs)
        except (RuntimeError, ValueError):
            return False
        return len(shape) <= 3 and 1 <= math.prod(shape) <= 250

    def _shape(self, layer, *inputs):
        if isinstance(layer, (LIF, nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)):
            return self.shapes[inputs[0]]
        with torch.no_grad():
            return tuple(layer(*(torch.zeros(2, *self.shapes[number]) for number in inputs)).shape[1:])

    def _used_before(self, operation, shape):
        """A layer of the network for this operation and shape."""
        found = [
            node.layer
            for node in self.network.nodes
            if node.operation == operation and [self.shapes[number] for number in node.inputs] == [shape]
        ]
        return self.random.choice(found) if found else None

    def _is_spikes(self, number):
        return number > 0 and self.network.nodes[number - 1].operation == FIRE

    def add_layer(self, layer):
        self.network.layers.append(layer)
        return len(self.network.layers) - 1


def ranks(operation):
    """The ranks of the activations that it takes, without the batch."""
    return (
        set(LAYERS[operation][0]) if operation in LAYERS else {rank for key in EXPRESSIONS[operation] for rank in key}
    )


@dataclass(frozen=True)
class Problem:
    """A network, batches of images [B, C, H, W] or [T, B, C, H, W] with their labels, and the settings of a method."""

    seed: int
    timesteps: int
    network: Network
    batches: list[tuple[Tensor, Tensor]]
    loss_scale: str
    weight: float

    def __str__(self):
        images = ", then ".join(str(list(images.shape)) for images, _ in self.batches)
        frozen = [name for name, parameter in self.network.named_parameters() if not parameter.requires_grad]
        return (
            f"seed {self.seed}: T = {self.timesteps}, images {images}, loss scale {self.loss_scale}, weight "
            f"{self.weight}, frozen: {', '.join(frozen) or 'nothing'}\n{self.network}"
        )


def draw(seed, most=16):
    """The problem of a seed, in float64; its network grows by at most this many operations or blocks of them."""
    random = Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawing = Drawing(random, (random.randint(1, 3), random.randint(4, 6), random.randint(4, 6)))
        if random.random() < 0.3:
            drawing.add("flatten", drawing.add_layer(Apply("x.flatten(start_dim=2)")), 0)
        for _ in range(random.randint(most // 3, most)):
            drawing.grow()
        drawing.finish()
        network = drawing.network.double()
        for layer in network.layers:
            fill(layer)
        if random.random() < 0.25:
            for parameter in network.parameters():
                parameter.requires_grad_(random.random() < 0.7)
            thaw(network)
        # With one channel, torch's own convolution in float64 fails on copies of weights in this layout.
        if random.random() < 0.3 and all(getattr(layer, "out_channels", 2) > 1 for layer in network.layers):
            network.to(memory_format=torch.channels_last)
        timesteps, static = random.randint(1, 5), random.random() < 0.5
        sizes = random.choice([[3], [4], [4, 3]])
        batches = [
            (images(timesteps, static, size, drawing.shapes[0]), torch.randint(CLASSES, (size,))) for size in sizes
        ]
    return Problem(seed, timesteps, network, batches, random.choice(["1/T", "1"]), random.choice([1.0, 0.37]))


def thaw(network):
    """Train a parameter of the layer with any that is nearest to the output: there must be something to train."""
    left = [len(network.nodes)]
    while left:
        number = left.pop(0)
        node = network.nodes[number - 1]
        if parameters := list(network.layers[node.layer].parameters()):
            parameters[0].requires_grad_(True)
            return
        left += [each for each in node.inputs if each]


def images(timesteps, static, size, shape):
    """Images that get brighter with each step, so that the steps have different statistics."""
    brightness = torch.linspace(0.5, 2.0, timesteps, dtype=torch.float64).reshape(-1, 1, 1, 1, 1)
    steps = 0.2 + torch.randn(timesteps, size, *shape, dtype=torch.float64) * brightness
    return steps[-1] if static else steps


def fill(layer):
    """Give the layer weights so large that neurons fire, and statistics that differ from a new layer's."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(layer.weight, 0.1, 1.5 / math.sqrt(layer.weight[0].numel()))
        if layer.bias is not None:
            nn.init.normal_(layer.bias, 0.2, 0.3)
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        if layer.affine:
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.3, 0.3)
        if layer.track_running_stats:
            assert layer.running_mean is not None and layer.running_var is not None
            nn.init.normal_(layer.running_mean, 0.0, 0.3)
            nn.init.uniform_(layer.running_var, 0.3, 1.5)
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.fill_(int(torch.randint(4, ())))
