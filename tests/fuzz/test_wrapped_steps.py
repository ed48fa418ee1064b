"""A step that is compiled or under autocast gives the same result as a plain one; a checkpointed one is refused."""

import copy
import itertools
import os
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rbp_engine.methods import METHODS
from rbp_engine.spiking import LIF
from rbp_engine.spiking.layers import compiler
from rbp_engine.spiking.surrogate import SURROGATES, create_surrogate
from tests.fuzz.comparison import by_engine, differences
from tests.fuzz.networks import FIRE, draw

# `make fuzz` sets it to 200. Compiling a network takes seconds, so none is compiled by default.
NETWORKS = int(os.environ.get("RBP_FUZZ_WRAPPED", "12"))
COMPILED = NETWORKS if "RBP_FUZZ_WRAPPED" in os.environ else 0
INDUCTOR = COMPILED // 20
FEW = 5  # operations, so that a network compiles in seconds


class Checkpointed(nn.Module):
    """A network whose middle nodes would be recomputed in the backward pass."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.first, self.last = len(network.nodes) // 4, len(network.nodes) - 2

    def forward(self, images):
        outputs, nodes = [images], self.network.nodes
        self.network.extend(outputs, nodes[: self.first])
        outputs += checkpoint(self.middle, *outputs, use_reentrant=False)
        self.network.extend(outputs, nodes[self.last :])
        return outputs[-1]

    def middle(self, *outputs):
        extended = list(outputs)
        self.network.extend(extended, self.network.nodes[self.first : self.last])
        return tuple(extended[len(outputs) :])


def method_of(seed):
    return list(METHODS)[seed % len(METHODS)]


def has_time(problem):
    """Whether its neurons can carry anything from one step to the next."""
    return problem.timesteps > 1 and any(node.operation == FIRE for node in problem.network.nodes)


def single(problem):
    """The problem in float32."""
    network = copy.deepcopy(problem.network).float()
    return replace(problem, network=network, batches=[(images.float(), labels) for images, labels in problem.batches])


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_checkpointed_step_is_refused_or_exact(seed):
    """Exact if nothing had to be recomputed."""
    problem, method = draw(seed), method_of(seed)
    try:
        found = by_engine(problem, method, Checkpointed)
    except RuntimeError as error:
        assert "torch.utils.checkpoint computes a part of the network again" in str(error)
    else:
        assert not differences(found, by_engine(problem, method)), f"{method}, {problem}"


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_step_under_autocast_gives_what_a_plain_one_gives(seed):
    problem, method = single(draw(seed)), method_of(seed)
    expected = by_engine(problem, method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = by_engine(problem, method)
    assert not differences(found, expected), f"{method}, {problem}"


@pytest.fixture
def fresh_compiler():
    """Resets torch.compile before and after, so that networks do not influence each other."""
    if reason := compiler.problem("cpu"):
        pytest.skip(f"torch.compile does not work here: {reason}")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.compiles
@pytest.mark.skipif(not COMPILED, reason="make fuzz")
@pytest.mark.parametrize("seed", range(COMPILED))
@pytest.mark.usefixtures("fresh_compiler")
def test_a_step_under_torch_compile_gives_what_a_plain_one_gives(seed):
    problem, method = draw(seed, FEW), method_of(seed)
    backend = "inductor" if seed < INDUCTOR else "aot_eager"
    found = by_engine(problem, method, lambda network: torch.compile(network, backend=backend))
    assert not differences(found, by_engine(problem, method)), f"{method}, {backend}, {problem}"


@pytest.mark.compiles
@pytest.mark.skipif(not COMPILED, reason="make fuzz")
@pytest.mark.parametrize("method", ["bptt", "rate_m", "rate_s", "bptt_s"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.usefixtures("fresh_compiler")
def test_the_compiled_kernel_of_every_surrogate_gives_what_the_eager_one_gives(surrogate, method):
    """In float32: the spikes are equal bit for bit, the slopes up to their last digits."""
    seeds = itertools.count(100 * list(SURROGATES).index(surrogate))
    problem = single(next(filter(has_time, (draw(seed, FEW) for seed in seeds))))
    outcomes = []
    for kernel in ("eager", "compiled"):
        for neuron in problem.network.modules():
            if isinstance(neuron, LIF):
                neuron.surrogate, neuron.kernel = create_surrogate(surrogate), kernel
        outcomes.append(by_engine(problem, method))
    eager, by_kernel = outcomes
    assert not differences(by_kernel, eager, factor=3e4), problem
