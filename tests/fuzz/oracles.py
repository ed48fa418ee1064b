"""What each method computes, on plain tensors and by autograd alone.

A network is walked node by node; the walks differ in what they do at neurons, batch norms, max pools, dropout and
weights. Everything else is applied to each timestep by itself. Equations: docs/methods.md.

    bptt      MultiStep, with the graph of everything
    bptt_s    SingleStep, the same with the loop over time outside the network
    sltt      SingleStep, whose membranes bring no gradient from the step before; a loss at every step
    ottt      Traced, the same, and weights see the traces of the spikes instead of the spikes
    rate_m    MultiStep without a graph, then Rates over the means
    rate_s    SingleStep without a graph, then Rates over the means
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from rbp_engine.spiking import LIF
from tests.fuzz.networks import FIRE, Network

Steps = Sequence[Tensor]  # T times [B, …]
Doubt = Callable[[], bool]  # whether rounding decides what comes out in one place
NEAR = 1e-9


class Walk:
    """Computes a network; what it calls values is the business of its subclasses.

    `doubts` are there to be asked where the engine gives something else: they know of membranes at the threshold and of
    pools with two largest values.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.masks: dict[int, Tensor] = {}
        self.doubts: list[Doubt] = []

    def __call__(self, images: Any) -> list[Any]:
        """What comes in, and what every node gives; the last are the logits."""
        outputs = [images]
        for place, node in enumerate(self.network.nodes, start=1):
            rule = getattr(self, kind_of(node.operation))
            outputs.append(rule(place, self.network.layers[node.layer], *(outputs[number] for number in node.inputs)))
        return outputs

    def mask(self, place: int, layer: nn.Module, like: Tensor) -> Tensor:
        """One mask [B, …] for all timesteps, drawn when the first comes."""
        if place not in self.masks:
            self.masks[place] = layer(torch.ones_like(like.detach()))
        return self.masks[place]

    def routed(self, place: int, layer: nn.Module, x: Tensor) -> Tensor:
        """A max pool."""
        [number] = self.network.nodes[place - 1].inputs
        is_spikes = number > 0 and self.network.nodes[number - 1].operation == FIRE
        if not is_spikes:
            values = x.detach()
            self.doubts.append(lambda: has_two_largest(layer, values))
        return layer(x)


def kind_of(operation: str) -> str:
    if operation in ("conv1d", "conv2d", "linear"):
        return "weighted"
    if operation.startswith("dropout"):
        return "dropout"
    if "max_pool" in operation:
        return "max_pool"
    return {FIRE: "neuron", "batch_norm": "batch_norm"}.get(operation, "other")


class Membrane:
    """A neuron from rest, step by step.

    u_t = v_rest + λ·(v_{t−1} − v_rest) + I_t        s_t = H(u_t − V_th), whose slope is the surrogate's
    v_t = u_t − V_th·s_t                             soft reset, v_rest = 0
    v_t = (1 − s_t)·u_t + s_t·v_reset                hard reset, v_rest = v_reset
    """

    def __init__(self, neuron: LIF, doubts: list[Doubt], through_time: bool = True) -> None:
        self.neuron, self.doubts, self.through_time = neuron, doubts, through_time
        self.rest = neuron.v_reset or 0.0
        self.v: Tensor | None = None

    def __call__(self, current: Tensor) -> Tensor:
        before = torch.full_like(current, self.rest) if self.v is None else self.v
        before = before if self.through_time else before.detach()
        u = self.rest + self.neuron.decay * (before - self.rest) + current
        s = self.neuron.surrogate(u - self.neuron.threshold)
        distance = u.detach() - self.neuron.threshold
        self.doubts.append(lambda: is_at_a_corner(self.neuron, distance))
        reset = s.detach() if self.neuron.detach_reset else s
        if self.neuron.v_reset is None:
            self.v = u - self.neuron.threshold * reset
        else:
            self.v = (1 - reset) * u + reset * self.neuron.v_reset
        return s


class MultiStep(Walk):
    """All timesteps of a layer before the next layer: values are its T steps. Batch norm sees T·B samples."""

    def neuron(self, place: int, layer: LIF, x: Steps) -> Steps:
        membrane = Membrane(layer, self.doubts)
        return [membrane(x_t) for x_t in x]

    def batch_norm(self, place: int, layer: nn.Module, x: Steps) -> Steps:
        return layer(torch.cat(list(x))).chunk(len(x))

    def dropout(self, place: int, layer: nn.Module, x: Steps) -> Steps:
        return [x_t * self.mask(place, layer, x_t) for x_t in x]

    def max_pool(self, place: int, layer: nn.Module, x: Steps) -> Steps:
        return [self.routed(place, layer, x_t) for x_t in x]

    def other(self, place: int, layer: nn.Module, *inputs: Steps) -> Steps:
        return [layer(*inputs_t) for inputs_t in zip(*inputs, strict=True)]

    weighted = other


class SingleStep(Walk):
    """All layers of a timestep before the next: it is called T times. Batch norm sees the B samples of that step."""

    def __init__(self, network: Network, through_time: bool = True) -> None:
        super().__init__(network)
        self.through_time = through_time
        self.membranes: dict[int, Membrane] = {}

    def neuron(self, place: int, layer: LIF, x: Tensor) -> Tensor:
        if place not in self.membranes:
            self.membranes[place] = Membrane(layer, self.doubts, self.through_time)
        return self.membranes[place](x)

    def batch_norm(self, place: int, layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x)

    def dropout(self, place: int, layer: nn.Module, x: Tensor) -> Tensor:
        return x * self.mask(place, layer, x)

    def max_pool(self, place: int, layer: nn.Module, x: Tensor) -> Tensor:
        return self.routed(place, layer, x)

    def other(self, place: int, layer: nn.Module, *inputs: Tensor) -> Tensor:
        return layer(*inputs)

    weighted = other


Pair = tuple[Tensor, Tensor | None]


class Traced(SingleStep):
    """Values are (x_t, a_t), a_t = λ·a_{t−1} + s_t behind a neuron, with that neuron's λ.

    What comes between a neuron and a weight acts on spikes and traces alike. There is no trace where anything else than
    spikes has come in: at the image, behind weights and behind a batch norm that takes statistics.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network, through_time=False)
        self.traces: dict[int, Tensor] = {}

    def neuron(self, place: int, layer: LIF, x: Pair) -> Pair:
        s = super().neuron(place, layer, x[0])
        before = self.traces.get(place, torch.zeros_like(s))
        self.traces[place] = layer.decay * before + s.detach()
        return s, self.traces[place]

    def weighted(self, place: int, layer: nn.Module, x: Pair) -> Pair:
        """The value of W·s + b; the gradient of s and b as there, that of W as in W·a."""
        spikes, trace = x
        if trace is None:
            return layer(spikes), None
        weights = dict(layer.named_parameters())
        at_spikes = functional_call(layer, weights | {"weight": weights["weight"].detach()}, (spikes,))
        fixed = {name: parameter.detach() for name, parameter in weights.items()}
        at_trace = functional_call(layer, fixed | {"weight": weights["weight"]}, (trace,))
        return with_value(at_spikes + at_trace, at_spikes), None

    def batch_norm(self, place: int, layer: nn.Module, x: Pair) -> Pair:
        return (layer(x[0]), None) if takes_statistics(layer) else self._alike(layer, x)

    def dropout(self, place: int, layer: nn.Module, x: Pair) -> Pair:
        return self._alike(lambda values: super(Traced, self).dropout(place, layer, values), x)

    def max_pool(self, place: int, layer: nn.Module, x: Pair) -> Pair:
        return self._alike(lambda values: super(Traced, self).max_pool(place, layer, values), x)

    def other(self, place: int, layer: nn.Module, *inputs: Pair) -> Pair:
        return self._alike(layer, *inputs)

    def _alike(self, function: Callable[..., Tensor], *inputs: Pair) -> Pair:
        values, traces = zip(*inputs, strict=True)
        if any(trace is None for trace in traces):
            return function(*values), None
        return function(*values), function(*traces).detach()


def takes_statistics(norm: nn.Module) -> bool:
    """Or else it is an affine map, with its running statistics."""
    return norm.training or not norm.track_running_stats


Statistics = Callable[[nn.Module, Steps], tuple[Tensor, Tensor]]  # mean and 1/√(var + ε) of a batch norm, [C]


class Rates(Walk):
    """The second pass of the rate methods, [B, …] over the means of the T steps of a first pass.

    Every value is the time mean of what the first pass gave there. Gradients are those of the operation at the mean r,
    but for neurons, ∂r/∂c = g, and batch norm, which has the statistics of the first pass.
    """

    def __init__(self, first: Walk, steps: Sequence[Steps], statistics: Statistics) -> None:
        super().__init__(first.network)
        self.masks, self.doubts = first.masks, first.doubts
        self.steps, self.statistics = steps, statistics

    def neuron(self, place: int, layer: LIF, c: Tensor) -> Tensor:
        currents = self.steps[self.network.nodes[place - 1].inputs[0]]
        return with_value(c * eligibility(layer, currents), mean(self.steps[place]))

    def batch_norm(self, place: int, layer: nn.Module, r: Tensor) -> Tensor:
        if not takes_statistics(layer):
            return layer(r)
        average, inverse = self.statistics(layer, self.steps[self.network.nodes[place - 1].inputs[0]])
        over = [dim for dim in range(r.ndim) if dim != 1]
        # The statistics keep their values; their derivatives are those of the mean and the variance of r.
        moving_mean = with_value(r.mean(over), average)
        moving_variance = with_value(((r - channels(average, r)) ** 2).mean(over), inverse**-2)
        out = (r - channels(moving_mean, r)) / channels(moving_variance, r).sqrt()
        if layer.affine:
            out = channels(layer.weight, r) * out + channels(layer.bias, r)
        return with_value(out, mean(self.steps[place]))

    def max_pool(self, place: int, layer: nn.Module, r: Tensor) -> Tensor:
        return with_value(self.routed(place, layer, r), mean(self.steps[place]))

    def dropout(self, place: int, layer: nn.Module, r: Tensor) -> Tensor:
        return r * self.mask(place, layer, r)

    def other(self, place: int, layer: nn.Module, *inputs: Tensor) -> Tensor:
        return layer(*inputs)

    weighted = other


def eligibility(neuron: LIF, currents: Steps) -> Tensor:
    """g = mean_t(σ'_t·ρ_t) [B, …]: how the firing rate answers to what is added to the current at every step."""
    with torch.enable_grad():
        added = torch.zeros_like(currents[0]).requires_grad_()
        membrane = Membrane(neuron, [])
        rate = mean([membrane(current.detach() + added) for current in currents])
        return torch.autograd.grad(rate.sum(), added)[0]


def over_all_steps(layer: nn.Module, x: Steps) -> tuple[Tensor, Tensor]:
    """rate_m's: of all T·B samples."""
    return of_samples(layer, torch.cat(list(x)))


def mean_over_steps(layer: nn.Module, x: Steps) -> tuple[Tensor, Tensor]:
    """rate_s's: the mean over t of μ_t and of 1/√(var_t + ε)."""
    means, inverses = zip(*(of_samples(layer, x_t) for x_t in x), strict=True)
    return mean(means), mean(inverses)


def of_samples(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    over = [dim for dim in range(x.ndim) if dim != 1]
    return x.mean(over), 1 / torch.sqrt(x.var(over, unbiased=False) + layer.eps)


def mean(steps: Steps) -> Tensor:
    return torch.stack(list(steps)).mean(0)


def channels(numbers: Tensor, values: Tensor) -> Tensor:
    """Numbers [C], to be used with values [B, C, …]."""
    return numbers.reshape(1, -1, *[1] * (values.ndim - 2))


def with_value(graph: Tensor, value: Tensor) -> Tensor:
    """The value of one with the gradient of the other."""
    return value.detach() + (graph - graph.detach())


def is_at_a_corner(neuron: LIF, distance: Tensor) -> bool:
    """Whether a little less or more makes another spike, or another slope of a surrogate that has corners."""
    below, above = distance - NEAR, distance + NEAR
    jump = gradient(neuron.surrogate, above) - gradient(neuron.surrogate, below)
    return bool((jump.abs() > 1e-5).any() or (below >= 0).ne(above >= 0).any())


def has_two_largest(pool: nn.Module, values: Tensor) -> bool:
    """Whether a little less or more sends the gradient elsewhere."""
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(0), dtype=values.dtype)
    return not torch.equal(gradient(pool, values), gradient(pool, values + NEAR * noise))


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)[0]


# The walk whose doubts count, the logits [B, C] and what is minimised, for images of T steps.
Result = tuple[Walk, Tensor, Tensor]


def bptt(network: Network, images: Steps, labels: Tensor) -> Result:
    walk = MultiStep(network)
    logits = mean(walk(images)[-1])
    return walk, logits, F.cross_entropy(logits, labels)


def bptt_s(network: Network, images: Steps, labels: Tensor) -> Result:
    walk = SingleStep(network)
    logits = mean([walk(images_t)[-1] for images_t in images])
    return walk, logits, F.cross_entropy(logits, labels)


def sltt(network: Network, images: Steps, labels: Tensor) -> Result:
    walk = SingleStep(network, through_time=False)
    return walk, *loss_at_every_step([walk(images_t)[-1] for images_t in images], labels)


def ottt(network: Network, images: Steps, labels: Tensor) -> Result:
    walk = Traced(network)
    return walk, *loss_at_every_step([walk((images_t, None))[-1][0] for images_t in images], labels)


def loss_at_every_step(logits: Steps, labels: Tensor) -> tuple[Tensor, Tensor]:
    return mean(logits), mean([F.cross_entropy(logits_t, labels) for logits_t in logits])


def rate_m(network: Network, images: Steps, labels: Tensor) -> Result:
    with torch.no_grad():
        walk = MultiStep(network)
        steps = walk(images)
    logits = Rates(walk, steps, over_all_steps)(mean(images))[-1]
    return walk, logits, F.cross_entropy(logits, labels)


def rate_s(network: Network, images: Steps, labels: Tensor) -> Result:
    with torch.no_grad():
        walk = SingleStep(network)
        steps = list(zip(*(walk(images_t) for images_t in images), strict=True))
    logits = Rates(walk, steps, mean_over_steps)(mean(images))[-1]
    return walk, logits, F.cross_entropy(logits, labels)


ORACLES: dict[str, Callable[[Network, Steps, Tensor], Result]] = {
    "bptt": bptt, "bptt_s": bptt_s, "rate_m": rate_m, "rate_s": rate_s, "sltt": sltt, "ottt": ottt,
}  # fmt: skip
