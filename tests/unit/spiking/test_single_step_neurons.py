"""A neuron layer of the single-step methods: its own backward, eager and compiled."""

import itertools
import os

import pytest
import torch
from torch._inductor.graph import GraphLowering

from rbp_engine.spiking import LIF
from rbp_engine.spiking.carriers.single_step import StepState, StepTensor, TraceTensor
from tests.unit.spiking.method_checks import RESETS

T, B, C, SIZE = 3, 2, 16, 4
BOTH = ("decay", "threshold")
CARRIERS = {
    "bptt_s": lambda x, state: StepTensor(x, state, through_time=True),
    "sltt": lambda x, state: StepTensor(x, state, through_time=False),
    "ottt": TraceTensor,
}


def currents(dtype=torch.float64, layout=torch.contiguous_format):
    values = 0.4 + torch.randn(T, B, C, SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [x_t.to(dtype).contiguous(memory_format=layout).requires_grad_() for x_t in values]


def gradients(spikes, inputs, neuron):
    """Of a loss in which each spike has its own weight."""
    weights = torch.randn(T, B, C, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = sum((s_t * w_t.to(s_t.dtype)).sum() for s_t, w_t in zip(spikes, weights, strict=True))
    loss.backward()
    return [x_t.grad for x_t in inputs], [parameter.grad for parameter in neuron.parameters()]


def fired(neuron, inputs, carrier, sums=False):
    """With `sums` each timestep receives the sum of its input and of the first one, which the neuron carries out."""
    state, outputs = StepState(T), []
    for x_t in inputs:
        state.next_pass()
        received = CARRIERS[carrier](x_t, state)
        outputs.append(neuron(received + CARRIERS[carrier](inputs[0], state) if sums else received))
    return outputs


class Saved:
    """The tensors of whole layers that are saved for the backward pass, by their memory."""

    def __enter__(self):
        self.found = set()
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *args):
        self._hooks.__exit__(*args)

    def _note(self, tensor):
        if tensor.numel() == B * C * SIZE * SIZE:
            self.found.add(tensor.data_ptr())
        return tensor


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_layer_keeps_one_tensor_for_the_backward_of_a_timestep(carrier):
    inputs = currents(torch.float32)
    with Saved() as saved:
        outputs = fired(LIF(), inputs, carrier)
    assert len(saved.found) == T
    assert not saved.found & {tensor.data_ptr() for tensor in (*inputs, *(out.values() for out in outputs))}


CASES = [
    ("bptt_s", "hard-to-minus-0.3", "channel", torch.float32, torch.channels_last),
    ("ottt", "soft-detached", "nothing", torch.bfloat16, torch.contiguous_format),
]
if "RBP_EVERY_CASE" in os.environ:  # each takes seconds to compile
    layouts = (torch.contiguous_format, torch.channels_last)
    learnt = ("nothing", "layer", "channel")
    CASES = list(itertools.product(CARRIERS, RESETS, learnt, (torch.float32, torch.bfloat16), layouts))


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.usefixtures("a_compiler")
@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(map(str, case)))
def test_eager_and_compiled_timesteps_give_the_same_bits(case):
    carrier, rule, learn_by, dtype, layout = case
    learns = {} if learn_by == "nothing" else {"learn": BOTH, "learn_by": learn_by}
    results = []
    for kernel in ("eager", "compiled"):
        neuron = LIF(0.6, 0.7, kernel=kernel, **learns, **RESETS[rule])
        inputs = currents(dtype, layout)
        outputs = fired(neuron, inputs, carrier, sums=True)
        spikes = [out.values() for out in outputs]
        traces = [out.trace for out in outputs] if carrier == "ottt" else []
        by_current, by_learnt = gradients(spikes, inputs, neuron)
        results.append([*spikes, *traces, *by_current, *by_learnt])
    for number, (eager, by_compiler) in enumerate(zip(*results, strict=True)):
        assert eager.dtype == by_compiler.dtype
        assert torch.equal(eager, by_compiler), number


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.usefixtures("a_compiler")
def test_layers_of_other_constants_compiled_before_change_no_bits():
    torch._dynamo.reset()
    for threshold in (0.5, 0.9, 0.7):
        eager, compiled = (
            [out.values() for out in fired(LIF(0.6, threshold, kernel=kernel), currents(torch.float32), "sltt")]
            for kernel in ("eager", "compiled")
        )
        assert all(map(torch.equal, eager, compiled)), threshold


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.usefixtures("a_compiler")
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_compiled_timestep_is_one_kernel_forward_and_one_backward(carrier, monkeypatch):
    written = []
    monkeypatch.setattr(GraphLowering, "save_output_code", written.append)  # also called for code from the cache
    torch._dynamo.reset()
    neuron, inputs = LIF(kernel="compiled"), currents(torch.float32, torch.channels_last)
    outputs = fired(neuron, inputs, carrier)
    torch.stack([out.values() for out in outputs]).sum().backward()
    # A first timestep starts at rest, and the second one of OTTT has the first spikes for its trace. Through time, a
    # last one gets no gradient from a later one.
    assert len(written) == {"bptt_s": 4, "sltt": 3, "ottt": 4}[carrier]
    assert [code.count('extern "C"') for code in written] == [1] * len(written)
