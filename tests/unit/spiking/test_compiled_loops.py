"""Loops compiled by torch.compile give the same bits as those that torch runs operation by operation."""

import functools
import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor.graph import GraphLowering

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models.resnet import ResNet
from rbp_engine.spiking import LIF
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.current import Current, Term
from rbp_engine.spiking.layers import compiler
from rbp_engine.spiking.steps import Dense, TimeConstant

# One process loads the compiler and keeps the kernels that the tests share.
pytestmark = [pytest.mark.compiles, pytest.mark.xdist_group("compiler"), pytest.mark.usefixtures("a_compiler")]
# The loops are unrolled, so compile time grows with T.
T, B, C, SIZE = 3, 2, 16, 4

NEURONS = {
    "papers": {},
    "soft-with-its-gradient": {"detach_reset": False, "surrogate": "atan"},
    "hard-detached": {"reset": "hard", "decay": 0.5},
    "hard-to-minus-0.3": {"reset": "hard", "v_reset": -0.3, "detach_reset": False, "surrogate": "atan"},
    "log-tailed": {"surrogate": "log_tailed_relu"},
}


def steps(*shape, layout=torch.contiguous_format, dtype=torch.float32, seed=0):
    values = 0.4 + torch.randn(T * B, *shape, generator=torch.Generator().manual_seed(seed))
    if len(shape) == 3:
        values = values.to(memory_format=layout)
    return Dense(values.to(dtype).unflatten(0, (T, B)))


def normalised(term, seed=1):
    generator = torch.Generator().manual_seed(seed)
    weight, bias = 0.5 + torch.rand(C, generator=generator), 0.4 * torch.rand(C, generator=generator)
    norm = BatchNorm(None, None, weight, bias, training=True)
    return Term(term, norm.statistics(term.values().flatten(0, 1)))


def static_image():
    values = torch.randn(B, C, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    return Term(TimeConstant(values))


def currents():
    """Inputs of neurons in networks: sequences, batch norms, and sums of them."""
    last = torch.channels_last
    image = (C, SIZE, SIZE)
    return {
        "a sequence": lambda dtype: [Term(steps(16, dtype=dtype))],
        "a batch norm of vectors": lambda dtype: [normalised(steps(C, dtype=dtype))],
        "a batch norm of images": lambda dtype: [normalised(steps(*image, dtype=dtype))],
        "a batch norm, channels last": lambda dtype: [normalised(steps(*image, layout=last, dtype=dtype))],
        "a residual sum": lambda dtype: [
            normalised(steps(*image, layout=last, dtype=dtype)),
            normalised(steps(*image, layout=last, dtype=dtype, seed=3)),
        ],
        "a sum with a static image": lambda dtype: [
            normalised(steps(*image, dtype=dtype)),
            Term(TimeConstant(static_image().steps.values().to(dtype))),
        ],
    }


# Every neuron and every current once; each takes many seconds to compile.
CASES = [
    ("papers", "a residual sum", torch.bfloat16),
    ("hard-to-minus-0.3", "a sequence", torch.float32),
    ("soft-with-its-gradient", "a batch norm of vectors", torch.float32),
    ("hard-detached", "a batch norm, channels last", torch.float32),
    ("log-tailed", "a batch norm of images", torch.float32),
    ("papers", "a sum with a static image", torch.float32),
]
# Loops that are made of the same steps as the one of the rate methods.
FEW = CASES[:2]
NETWORKS = ("rate_m", "bptt_s")
if "RBP_EVERY_CASE" in os.environ:
    every_current = itertools.product(["papers"], currents(), (torch.float32, torch.bfloat16))
    FEW = CASES = CASES + [case for case in every_current if case not in CASES]
    NETWORKS = METHODS


# The generated code of these is checked: membranes and slopes of the timesteps stay in registers.
IN_ONE_PASS = ("a batch norm of images", "a residual sum")


def words(case):
    return ", ".join(map(str, case))


@pytest.fixture(params=CASES, ids=words)
def case(request):
    """A neuron by kernel, a function that makes its current again, and one that compiles and runs a loop."""
    neuron, name, dtype = request.param
    return (
        {kernel: LIF(**NEURONS[neuron], kernel=kernel).neurons for kernel in ("eager", "compiled")},
        lambda: Current(currents()[name](dtype), T),
        in_one_pass if name in IN_ONE_PASS else lambda run, results: run(),
    )


# Memory for more than the numbers of channels, which are [C] or [C, 1].
WHOLE_LAYER = re.compile(r"= empty_strided_cpu\(\((?!\w+, 1?\),)")


def in_one_pass(run, results):
    """Run a loop and check that its new code, if any was compiled, writes only its results to memory, and numbers of
    channels."""
    written, graphs = [], counters["stats"]
    before = graphs["unique_graphs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraphLowering, "save_output_code", written.append)  # also called for code from the cache
        found = run()
    assert len(written) == graphs["unique_graphs"] - before
    assert [len(WHOLE_LAYER.findall(code)) for code in written] == [results] * len(written)
    return found


def same(eager, by_compiler):
    for left, right in zip(eager, by_compiler, strict=True):
        assert left.dtype == right.dtype
        assert torch.equal(left, right), (left.float() - right.float()).abs().max()


@pytest.mark.parametrize("case", FEW, ids=words, indirect=True)
def test_spikes_without_a_graph(case):
    neuron, current, compile_and_run = case
    spikes = neuron["eager"].spikes_only(current())
    assert 0.05 < spikes.float().mean() < 0.95
    same([spikes], [compile_and_run(lambda: neuron["compiled"].spikes_only(current()), 0)])


def test_spikes_counts_eligibility_and_means_of_a_sequence(case):
    neuron, current, compile_and_run = case
    # Counts go to new memory; spikes, eligibility and means are written to existing memory.
    found = neuron["eager"].rate(current()), compile_and_run(lambda: neuron["compiled"].rate(current()), 1)
    same(*([*spikes, counts, *derivatives, *means] for spikes, counts, derivatives, means in found))


@pytest.mark.parametrize("case", FEW, ids=words, indirect=True)
def test_spikes_counts_and_eligibility_step_by_step(case):
    neuron, current, _ = case
    results = []
    for kernel in ("eager", "compiled"):
        whole = current()
        loop = neuron[kernel].rate_loop(whole, T)
        spikes = []
        for t in range(T):
            terms = [Term(Dense(term.steps.at(t).unsqueeze(0)), term.normalisation) for term in whole.terms]
            spikes.append(loop.step(Current(terms, 1)).clone())
        counts, derivatives = loop.finish()
        results.append([*spikes, counts, *derivatives])
    same(*results)


def test_gradient_through_time(case):
    neuron, current, compile_and_run = case
    given = current()
    grad = torch.randn(T, *given.like.shape, generator=torch.Generator().manual_seed(5)).to(given.like.dtype)
    eager = neuron["eager"].gradient_through_time(given, grad)
    by_compiler = compile_and_run(lambda: neuron["compiled"].gradient_through_time(current(), grad), 0)
    same(*([at_current, *learnt] for at_current, learnt in (eager, by_compiler)))


@pytest.mark.parametrize("dimensions", [(1, 2), (1, 3), (2, 3)])
def test_currents_of_any_layout_in_memory(dimensions):
    """As from a transposed layer: views of its state with few dimensions would be copies."""
    current = 0.6 + torch.randn(T, B, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    current = current.transpose(*(1 + dimension for dimension in dimensions))
    results = []
    for kernel in ("eager", "compiled"):
        loop = LIF(kernel=kernel).neurons.rate_loop(Current.of(current), T)
        by_step = [loop.step(Current([Term(Dense(current[t : t + 1]))], 1)).clone() for t in range(T)]
        spikes, counts, [eligibility], *_ = LIF(kernel=kernel).neurons.rate(Current.of(current))
        by_loop, [of_loop] = loop.finish()
        results.append([*by_step, by_loop, of_loop, *spikes, counts, eligibility])
    same(*results)


def test_sizes_that_do_not_fill_vectors_change_only_the_last_digit_of_the_slope():
    """torch's exponentials differ in that digit between whole vectors and the rest, in its own loops, too."""
    current = Current.of(0.4 + torch.randn(T, 3, 5, generator=torch.Generator().manual_seed(0)))
    eager, by_compiler = (LIF(kernel=kernel).neurons.rate(current) for kernel in ("eager", "compiled"))
    same([*eager[0], eager[1]], [*by_compiler[0], by_compiler[1]])
    torch.testing.assert_close(by_compiler.derivatives[0], eager.derivatives[0], rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_a_network_are_equal_bit_for_bit(name):
    """With batch sizes 3 and 2, as for the last batch of an epoch."""
    gradients = []
    for kernel in ("eager", "compiled"):
        torch.manual_seed(0)
        # Has every kind of sum that a ResNet gives to a neuron, and images of 2×2 and of one pixel.
        model = ResNet((1, 1), (16, 32), 3, functools.partial(LIF, kernel=kernel), nn.Linear(32, 10)).train()
        model.to(memory_format=torch.channels_last)  # as in create_model
        method = create_method(name, 2)
        for size in (3, 2):
            generator = torch.Generator().manual_seed(size)
            images = torch.rand(size, 3, 2, 2, generator=generator)
            out = method.step(model, images, torch.arange(size))
        gradients.append([out.logits, *(parameter.grad for parameter in model.parameters())])
    same(*gradients)


def test_beyond_the_limit_of_kernels_a_loop_continues_uncompiled(monkeypatch):
    monkeypatch.setattr(compiler, "KERNELS", 1)

    def doubled(values, times):
        for _ in range(times):
            values = 2.0 * values
        return values

    run = compiler.jit(doubled)
    with torch._dynamo.config.patch(recompile_limit=1):
        assert [run(torch.ones(8), times)[0] for times in (1, 2, 1)] == [2.0, 4.0, 2.0]


def test_a_compiled_loop_leaves_the_users_limit_of_kernels_as_it_was():
    def tripled(values, times):
        for _ in range(times):
            values = 3.0 * values
        return values

    run, graphs = compiler.jit(tripled), counters["stats"]
    with torch._dynamo.config.patch(recompile_limit=1):
        before = graphs["unique_graphs"]
        assert [run(torch.ones(8), times)[0] for times in (1, 2)] == [3.0, 9.0]
        assert graphs["unique_graphs"] == before + 2
        assert torch._dynamo.config.recompile_limit == 1


def normalised_vectors(batch):
    values = torch.randn(T, batch, C, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.ones(C, dtype=torch.float64)
    norm = BatchNorm(None, None, weight, weight, training=True)
    return Current([Term(Dense(values), norm.statistics(values.flatten(0, 1)))], T)


def test_sizes_that_are_equal_by_chance_need_no_separate_kernel():
    graphs = counters["stats"]
    before = graphs["unique_graphs"]
    neuron = LIF(reset="hard", v_reset=-0.5, kernel="compiled").neurons
    for batch in (C, C - 3):  # as many samples as channels, then a smaller last batch
        neuron.spikes_only(normalised_vectors(batch))
    assert graphs["unique_graphs"] == before + 1


def test_a_thread_with_torchs_own_settings_compiles_as_many_kernels_as_this_one():
    """Autograd has such a thread: on a GPU the backward pass compiles there."""

    def fire(timesteps):
        current = Current.of(torch.ones(timesteps, 2, 3, dtype=torch.float64))
        return LIF(kernel="compiled").neurons.spikes_only(current)

    def work():
        torch._dynamo.config.recompile_limit = 1
        return fire(2)

    fire(1)
    before = counters["stats"]["unique_graphs"]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result().shape == (2, 2, 3)
    assert counters["stats"]["unique_graphs"] == before + 1, "it is compiled"
