"""One step of a method on a random network, by the engine and by the oracle."""

import copy
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.methods import create_method
from rbp_engine.vocabulary import RATE_METHODS
from tests.fuzz.oracles import ORACLES, Doubt, MultiStep

# Tolerances: relative to the tensor's largest value, and to the largest gradient in the network (1 for other values).
# The second is needed because a bias in front of a batch norm has a gradient of rounding errors only; the third where
# all gradients are such errors, because nothing reaches the loss: each batch norm on the way multiplies them by up to
# 1/√ε = 316.
RELATIVE, OF_LARGEST, SMALLEST = 1e-9, 1e-11, 1e-12


@dataclass
class Outcome:
    """The results of a method's steps on the batches of a problem; `doubts` are the oracle's."""

    values: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)

    def note(self, network):
        self.gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        self.buffers = dict(network.named_buffers())
        return self

    def depends_on_rounding(self):
        return any(doubt() for doubt in self.doubts)


def by_engine(problem, method, wrap=lambda network: network, **settings):
    """The engine's outcome; `wrap` makes the model for the engine from the network, with the same parameters.

    `settings` are of the method.
    """
    network, outcome = copy.deepcopy(problem.network), Outcome()
    settings |= {"loss_scale": problem.loss_scale} if method in RATE_METHODS else {}
    engine, given = create_method(method, problem.timesteps, **settings), wrap(network)
    for number, (images, labels) in enumerate(problem.batches):
        torch.manual_seed(problem.seed + number)
        output = engine.step(given, images, labels, problem.weight)
        outcome.values |= {f"loss {number}": output.loss, f"logits {number}": output.logits}
    outcome.note(network)
    outcome.values["prediction"] = engine.predict(given, problem.batches[0][0])
    return outcome


def by_oracle(problem, method):
    network, outcome = copy.deepcopy(problem.network), Outcome()
    scale = problem.weight
    if method in RATE_METHODS and problem.loss_scale == "1/T":
        scale /= problem.timesteps
    for number, (images, labels) in enumerate(problem.batches):
        torch.manual_seed(problem.seed + number)
        walk, logits, objective = ORACLES[method](network, by_step(images, problem.timesteps), labels)
        (objective * scale).backward()
        loss = F.cross_entropy(logits, labels)
        outcome.values |= {f"loss {number}": loss.detach(), f"logits {number}": logits.detach()}
        outcome.doubts += walk.doubts
    outcome.note(network)
    with torch.no_grad():
        walk = MultiStep(network.eval())
        outcome.values["prediction"] = torch.stack(list(walk(by_step(problem.batches[0][0], problem.timesteps))[-1]))
    outcome.doubts += walk.doubts
    return outcome


def by_step(images, timesteps):
    return [images] * timesteps if images.ndim == 4 else list(images)


def differences(found, expected, factor=1.0):
    """The differences in words; none if the two agree to `factor` times the tolerance of float64."""
    largest = max((g.abs().max().item() for g in expected.gradients.values() if g is not None), default=0.0)
    mismatches = []
    for name, gradient in expected.gradients.items():
        other = found.gradients[name]
        if other is None or gradient is None:
            some = gradient if other is None else other
            if some is not None and some.any():
                mismatches.append(f"gradient of {name}: {'none' if other is None else 'some'}")
        else:
            mismatches += difference(f"gradient of {name}", other, gradient, factor, largest)
    for name, value in (expected.values | expected.buffers).items():
        mismatches += difference(name, (found.values | found.buffers)[name], value, factor, 1.0)
    return mismatches


def difference(name, found, expected, factor, largest):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return [f"{name}: {found.dtype} {list(found.shape)} instead of {expected.dtype} {list(expected.shape)}"]
    if not expected.is_floating_point():
        return [] if torch.equal(found, expected) else [f"{name}: {found.tolist()} instead of {expected.tolist()}"]
    size = expected.abs().max().item()
    error = (found - expected).abs().max().item()
    if error <= factor * (RELATIVE * size + OF_LARGEST * largest + SMALLEST):
        return []
    return [f"{name}: off by {error:.2g}, its largest value is {size:.2g}"]
