"""What each method computes, with plain tensors and autograd only.

A network is computed node by node; the walks differ in how they treat neurons, batch norms, max pools, dropout and
weights. Everything else is applied to each timestep separately. Equations: docs/methods.md.

    bptt      MultiStep, with the graph of everything
    bptt_s    SingleStep, the same with the loop over time outside the network
    sltt      SingleStep, without the gradient through the membrane of the step before; a loss at every step
    ottt      Traced, the same, but weights see the traces of the spikes instead of the spikes
    rate_m    MultiStep without a graph, then Rates over the means
    rate_s    SingleStep without a graph, then Rates over the means
"""

import re
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from tests.fuzz.networks import FIRE

NORMS = ("group_norm", "layer_norm")
ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "sigmoid", "tanh"),
    *("hardtanh", "hardswish", "hardsigmoid", "clamp"),
)
Steps = Sequence[Tensor]  # T times [B, …]
Doubt = Callable[[], bool]  # whether rounding decides the result in one place
NEAR = 1e-9


class Walk:
    """Computes a network; its subclasses decide what a value is.

    `doubts` are called only if the engine gives another result: they find membranes at the threshold and pools with two
    largest values.
    """

    def __init__(self, network):
        self.network = network
        self.masks = {}
        self.doubts = []

    def __call__(self, images):
        """The input and the output of every node; the last one is the logits."""
        outputs = [images]
        for place, node in enumerate(self.network.nodes, start=1):
            rule = getattr(self, kind_of(node.operation))
            outputs.append(rule(place, self.network.layers[node.layer], *(outputs[number] for number in node.inputs)))
        return outputs

    def mask(self, place, layer, like):
        """One mask [B, …] for all timesteps, drawn at the first."""
        if place not in self.masks:
            self.masks[place] = layer(torch.ones_like(like.detach()))
        return self.masks[place]

    def routed(self, place, layer, x):
        """Apply a max pool, and add a doubt for equal values unless its inputs are spikes."""
        [number] = self.network.nodes[place - 1].inputs
        is_spikes = number > 0 and self.network.nodes[number - 1].operation == FIRE
        if not is_spikes:
            values = x.detach()
            self.doubts.append(lambda: has_two_largest(layer, values))
        return layer(x)


def kind_of(operation):
    if operation.startswith("conv") or operation == "linear":
        return "weighted"
    if operation.startswith("dropout"):
        return "dropout"
    if "max_pool" in operation or operation == "maxima":
        return "max_pool"
    if operation in ("mul", "matmul", "bmm", "einsum", "weights"):
        return "product"
    if operation in NORMS:
        return "norm"
    if operation in ACTIVATIONS or operation == "smooth":
        return "activation"
    if operation in ("normalize", "softmax", "rms_norm", "log_softmax", "rows"):
        return operation
    return {FIRE: "neuron", "batch_norm": "batch_norm"}.get(operation, "other")


def is_product_of_activations(layer, *inputs):
    """Whether activations of twice the size give more than twice the result: not with a constant as the one factor."""
    ones = [torch.ones_like(x) for x in inputs]
    return not torch.allclose(layer(*(2 * x for x in ones)), 2 * layer(*ones))


class Membrane:
    """A neuron that starts at rest, step by step.

    u_t = v_rest + λ·(v_{t−1} − v_rest) + I_t        s_t = H(u_t − V_th), with the surrogate's slope
    v_t = u_t − V_th·s_t                             soft reset, v_rest = 0
    v_t = (1 − s_t)·u_t + s_t·v_reset                hard reset, v_rest = v_reset
    """

    def __init__(self, neuron, doubts, through_time=True, values=None):
        """`values` are λ and V_th in place of the neuron's."""
        self.neuron, self.doubts, self.through_time, self.values = neuron, doubts, through_time, values
        self.rest = neuron.v_reset or 0.0
        self.v = None

    def __call__(self, current):
        before = torch.full_like(current, self.rest) if self.v is None else self.v
        before = before if self.through_time else before.detach()
        decay, threshold = self.values or decay_and_threshold(self.neuron, current)
        u = self.rest + decay * (before - self.rest) + current
        s = self.neuron.surrogate(u - threshold)
        distance = (u - threshold).detach()
        self.doubts.append(lambda: is_at_a_corner(self.neuron, distance))
        reset = s.detach() if self.neuron.detach_reset else s
        if self.neuron.v_reset is None:
            self.v = u - threshold * reset
        else:
            self.v = (1 - reset) * u + reset * self.neuron.v_reset
        return s


def decay_and_threshold(neuron, current):
    """λ and V_th: numbers, or where they are learnt sigmoid(w) and exp(w), as they broadcast with a current."""
    decay, threshold = neuron.decay_logit, neuron.log_threshold

    def over(w):
        return channels(w, current) if w.ndim else w

    return (
        neuron.made_with["decay"] if decay is None else over(torch.sigmoid(decay)),
        neuron.made_with["threshold"] if threshold is None else over(torch.exp(threshold)),
    )


class MultiStep(Walk):
    """Computes all timesteps of a layer before the next layer: a value is the T steps. Batch norm sees T·B samples."""

    def neuron(self, place, layer, x):
        membrane = Membrane(layer, self.doubts)
        return [membrane(x_t) for x_t in x]

    def batch_norm(self, place, layer, x):
        return layer(torch.cat(list(x))).chunk(len(x))

    def dropout(self, place, layer, x):
        return [x_t * self.mask(place, layer, x_t) for x_t in x]

    def max_pool(self, place, layer, x):
        return [self.routed(place, layer, x_t) for x_t in x]

    def other(self, place, layer, *inputs):
        return [layer(*inputs_t) for inputs_t in zip(*inputs, strict=True)]

    weighted = product = norm = normalize = softmax = rms_norm = log_softmax = rows = other

    def activation(self, place, layer, x):
        values = torch.stack(list(x)).detach()
        self.doubts.append(lambda: has_a_corner(layer, values))
        return self.other(place, layer, x)


class SingleStep(Walk):
    """Computes all layers for one timestep; called T times. Batch norm sees the B samples of that step."""

    def __init__(self, network, through_time=True):
        super().__init__(network)
        self.through_time = through_time
        self.membranes = {}

    def neuron(self, place, layer, x):
        if place not in self.membranes:
            self.membranes[place] = Membrane(layer, self.doubts, self.through_time)
        return self.membranes[place](x)

    def batch_norm(self, place, layer, x):
        return layer(x)

    def dropout(self, place, layer, x):
        return x * self.mask(place, layer, x)

    def max_pool(self, place, layer, x):
        return self.routed(place, layer, x)

    def other(self, place, layer, *inputs):
        return layer(*inputs)

    weighted = product = norm = normalize = softmax = rms_norm = log_softmax = rows = other

    def activation(self, place, layer, x):
        values = x.detach()
        self.doubts.append(lambda: has_a_corner(layer, values))
        return self.other(place, layer, x)


class Traced(SingleStep):
    """Values are (x_t, a_t), with a_t = λ·a_{t−1} + s_t behind a neuron with that λ.

    Operations between a neuron and a weight act on spikes and traces alike. There is no trace if anything but spikes
    came in: at the image, behind weights, and behind a batch norm that takes statistics.
    """

    def __init__(self, network):
        super().__init__(network, through_time=False)
        self.traces = {}

    def neuron(self, place, layer, x):
        s = super().neuron(place, layer, x[0])
        before = self.traces.get(place, torch.zeros_like(s))
        decay, _ = decay_and_threshold(layer, s)
        self.traces[place] = (decay * before).detach() + s.detach()
        return s, self.traces[place]

    def weighted(self, place, layer, x):
        """Value and gradients for s and b as of W·s + b, but the gradient for W as of W·a."""
        spikes, trace = x
        if trace is None:
            return layer(spikes), None
        weights = dict(layer.named_parameters())
        name = "weight" if "weight" in weights else "w"
        at_spikes = functional_call(layer, weights | {name: weights[name].detach()}, (spikes,))
        fixed = {name: parameter.detach() for name, parameter in weights.items()}
        at_trace = functional_call(layer, fixed | {name: weights[name]}, (trace,))
        return with_value(at_spikes + at_trace, at_spikes), None

    def batch_norm(self, place, layer, x):
        return (layer(x[0]), None) if takes_statistics(layer) else self._alike(layer, x)

    def dropout(self, place, layer, x):
        return self._alike(lambda values: super(Traced, self).dropout(place, layer, values), x)

    def max_pool(self, place, layer, x):
        return self._alike(lambda values: super(Traced, self).max_pool(place, layer, values), x)

    def other(self, place, layer, *inputs):
        return self._alike(layer, *inputs)

    def product(self, place, layer, *inputs):
        values = [x for x, _ in inputs]
        if is_product_of_activations(layer, *values):
            return layer(*values), None
        is_matrix_product = self.network.nodes[place - 1].operation != "mul"
        if is_matrix_product and getattr(layer, "w", None) is not None and layer.w.requires_grad:
            return self.weighted(place, layer, *inputs)
        return self._alike(layer, *inputs)

    def activation(self, place, layer, x):
        values = x[0].detach()
        self.doubts.append(lambda: has_a_corner(layer, values))
        return layer(x[0]), None

    def without_trace(self, place, layer, x):
        return layer(x[0]), None

    norm = normalize = softmax = rms_norm = log_softmax = rows = without_trace

    def _alike(self, function, *inputs):
        values, traces = zip(*inputs, strict=True)
        if any(trace is None for trace in traces):
            return function(*values), None
        return function(*values), function(*traces).detach()


def takes_statistics(norm):
    """Whether the batch norm takes statistics; otherwise it is an affine map with its running statistics."""
    return norm.training or not norm.track_running_stats


class Rates(Walk):
    """The second pass of the rate methods, [B, …], on the means over the T steps of a first pass.

    Every value is the time mean of the first pass at that node. Gradients are those of the operation at the mean r,
    except for neurons, where they are those of each neuron's rate by its mean current, λ and V_th, and for batch norm,
    which has the statistics of the first pass.
    """

    def __init__(self, first, steps, statistics):
        super().__init__(first.network)
        self.masks, self.doubts = first.masks, first.doubts
        self.steps, self.statistics = steps, statistics

    def neuron(self, place, layer, c):
        currents = self.steps[self.network.nodes[place - 1].inputs[0]]
        g, by_decay, by_threshold = slopes_of_rate(layer, currents)
        decay, threshold = decay_and_threshold(layer, c)
        return with_value(c * g + decay * by_decay + threshold * by_threshold, mean(self.steps[place]))

    def batch_norm(self, place, layer, r):
        if not takes_statistics(layer):
            return layer(r)
        average, inverse = self.statistics(layer, self.steps[self.network.nodes[place - 1].inputs[0]])
        over = [dim for dim in range(r.ndim) if dim != 1]
        # The statistics keep the values of the first pass; their derivatives are those of the mean and the variance of
        # r.
        moving_mean = with_value(r.mean(over), average)
        moving_variance = with_value(((r - channels(average, r)) ** 2).mean(over), inverse**-2)
        out = (r - channels(moving_mean, r)) / channels(moving_variance, r).sqrt()
        if layer.affine:
            out = channels(layer.weight, r) * out + channels(layer.bias, r)
        return with_value(out, mean(self.steps[place]))

    def max_pool(self, place, layer, r):
        return with_value(self.routed(place, layer, r), mean(self.steps[place]))

    def product(self, place, layer, *inputs):
        return with_value(layer(*inputs), mean(self.steps[place]))

    def norm(self, place, layer, r):
        """As for batch norm, with μ and 1/√(σ² + ε) of each group of each sample, averaged over the steps."""
        averages, inverses = zip(*(moments_of_norm(layer, x_t) for x_t in self.of_input(place)), strict=True)
        average, inverse = mean(averages), mean(inverses)
        over, shape = groups_of_norm(layer, r), r.shape
        r = r.reshape(over)
        variance = with_value(((r - average) ** 2).mean(-1, keepdim=True), inverse**-2)
        y = ((r - with_value(r.mean(-1, keepdim=True), average)) * variance**-0.5).reshape(shape)
        y = y * layer.w if layer.w is not None else y
        return with_value(y, mean(self.steps[place]))

    def normalize(self, place, layer, r):
        [dim] = re.findall(r"dim=(-?\d)", layer.expression)
        shift = float(re.findall(r"0\.\d", layer.expression)[0])
        lengths = [(x_t + shift).norm(dim=int(dim), keepdim=True).clamp_min(1e-12) for x_t in self.of_input(place)]
        inverse = mean([1 / length for length in lengths])
        y = mean(self.steps[place])
        return with_value(inverse * (r - y * (y * r).sum(int(dim), keepdim=True)), y)

    def softmax(self, place, layer, r):
        dim, p = -1 if "-1" in layer.expression else 1, mean(self.steps[place])
        return with_value(p * (r - (p * r).sum(dim, keepdim=True)), p)

    def log_softmax(self, place, layer, r):
        dim, p = -1 if "-1" in layer.expression else 1, mean([layer(x_t).exp() for x_t in self.of_input(place)])
        return with_value(r - (p * r).sum(dim, keepdim=True), mean(self.steps[place]))

    def rms_norm(self, place, layer, r):
        inverse = mean([(x_t.square().mean(-1, keepdim=True) + 0.1) ** -0.5 for x_t in self.of_input(place)])
        square = with_value(r.square().mean(-1, keepdim=True), inverse**-2)
        return with_value(r * square**-0.5, mean(self.steps[place]))

    def rows(self, place, layer, r):
        y, slope = mean(self.steps[place]), mean([gradient(layer, x_t) for x_t in self.of_input(place)])
        over = [dim for dim in range(r.ndim) if r.shape[dim] != y.shape[dim]]
        return with_value((r * slope).sum(over, keepdim=True) if over else r * slope, y)

    def activation(self, place, layer, r):
        slope = mean([gradient(layer, x_t) for x_t in self.of_input(place)])
        return with_value(r * slope, mean(self.steps[place]))

    def of_input(self, place):
        """The steps that the first pass had at the node's input."""
        return self.steps[self.network.nodes[place - 1].inputs[0]]

    def dropout(self, place, layer, r):
        return r * self.mask(place, layer, r)

    def other(self, place, layer, *inputs):
        return layer(*inputs)

    weighted = other


def slopes_of_rate(neuron, currents):
    """∂r/∂c, ∂r/∂λ and ∂r/∂V_th of each neuron [B, …]; the first is g = mean_t(σ'_t·ρ_t), c added at every step."""
    with torch.enable_grad():
        start = 0.0, *decay_and_threshold(neuron, currents[0])
        like = torch.zeros_like(currents[0])
        added, decay, threshold = ((like + value).detach().requires_grad_() for value in start)
        membrane = Membrane(neuron, [], values=(decay, threshold))
        rate = mean([membrane(current.detach() + added) for current in currents])
        return torch.autograd.grad(rate.sum(), (added, decay, threshold))


def over_all_steps(layer, x):
    """rate_m: the statistics of all T·B samples."""
    return of_samples(layer, torch.cat(list(x)))


def mean_over_steps(layer, x):
    """rate_s: the means over t of μ_t and of 1/√(var_t + ε)."""
    means, inverses = zip(*(of_samples(layer, x_t) for x_t in x), strict=True)
    return mean(means), mean(inverses)


def of_samples(layer, x):
    over = [dim for dim in range(x.ndim) if dim != 1]
    return x.mean(over), 1 / torch.sqrt(x.var(over, unbiased=False) + layer.eps)


def mean(steps):
    return torch.stack(list(steps)).mean(0)


def channels(numbers, values):
    """Numbers [C], reshaped for values [B, C, …]."""
    return numbers.reshape(1, -1, *[1] * (values.ndim - 2))


def with_value(graph, value):
    """A tensor with the value of `value` and the gradient of `graph`."""
    return value.detach() + (graph - graph.detach())


def is_at_a_corner(neuron, distance):
    """Whether a tiny change gives another spike, or another slope of a surrogate that has corners."""
    below, above = distance - NEAR, distance + NEAR
    jump = gradient(neuron.surrogate, above) - gradient(neuron.surrogate, below)
    return bool((jump.abs() > 1e-5).any() or (below >= 0).ne(above >= 0).any())


def has_two_largest(pool, values):
    """Whether a tiny change sends the gradient elsewhere."""
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(0), dtype=values.dtype)
    return not torch.equal(gradient(pool, values), gradient(pool, values + NEAR * noise))


def groups_of_norm(layer, x):
    """The shape in which the last dimension has the numbers that are normalised together."""
    expression = layer.expression
    if "instance" in expression or "x.shape[1], eps" in expression:
        return *x.shape[:2], -1
    return (*x.shape[:-1], -1) if "x.shape[-1:]" in expression else (len(x), -1)


def moments_of_norm(layer, x):
    x = x.reshape(*groups_of_norm(layer, x))
    [eps] = re.findall(r"eps=([\d.]+)", layer.expression)
    return x.mean(-1, keepdim=True), 1 / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + float(eps))


def has_a_corner(function, values):
    """Whether a tiny change of a value gives another slope there."""
    return bool(((gradient(function, values + NEAR) - gradient(function, values - NEAR)).abs() > 1e-5).any())


def gradient(function, at):
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)[0]


# These give the walk whose doubts count, the logits [B, C] and the objective, for images of T steps.


def bptt(network, images, labels):
    walk = MultiStep(network)
    logits = mean(walk(images)[-1])
    return walk, logits, F.cross_entropy(logits, labels)


def bptt_s(network, images, labels):
    walk = SingleStep(network)
    logits = mean([walk(images_t)[-1] for images_t in images])
    return walk, logits, F.cross_entropy(logits, labels)


def sltt(network, images, labels):
    walk = SingleStep(network, through_time=False)
    return walk, *loss_at_every_step([walk(images_t)[-1] for images_t in images], labels)


def ottt(network, images, labels):
    walk = Traced(network)
    return walk, *loss_at_every_step([walk((images_t, None))[-1][0] for images_t in images], labels)


def loss_at_every_step(logits, labels):
    return mean(logits), mean([F.cross_entropy(logits_t, labels) for logits_t in logits])


def rate_m(network, images, labels):
    with torch.no_grad():
        walk = MultiStep(network)
        steps = walk(images)
    logits = Rates(walk, steps, over_all_steps)(mean(images))[-1]
    return walk, logits, F.cross_entropy(logits, labels)


def rate_s(network, images, labels):
    with torch.no_grad():
        walk = SingleStep(network)
        steps = list(zip(*(walk(images_t) for images_t in images), strict=True))
    logits = Rates(walk, steps, mean_over_steps)(mean(images))[-1]
    return walk, logits, F.cross_entropy(logits, labels)


ORACLES = {
    "bptt": bptt, "bptt_s": bptt_s, "rate_m": rate_m, "rate_s": rate_s, "sltt": sltt, "ottt": ottt,
}  # fmt: skip
