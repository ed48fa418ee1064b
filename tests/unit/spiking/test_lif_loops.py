"""The loops of `spiking/neuron.py` agree, and the eligibility is that of backpropagation through time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional

from rbp_engine.spiking import LIF, RateTensor, SequenceTensor
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.dtypes import membrane_dtype
from rbp_engine.spiking.surrogate import SURROGATES
from tests.unit.spiking.method_checks import RESETS


def by_autograd(current, parameters):
    """Spikes [T, B, …] from rest, one timestep after the other, with autograd's graph."""
    dtype, spikes = membrane_dtype(current[0].dtype), []
    membrane = torch.full_like(current[0], parameters.v_reset or 0.0, dtype=dtype)
    for current_t in current:
        fired, membrane = parameters.timestep(membrane, current_t)
        spikes.append(fired)
    return torch.stack(spikes)


def currents(timesteps, *shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 0.4 + torch.randn(timesteps, *shape, generator=generator, dtype=dtype)


@st.composite
def neurons(draw):
    reset = draw(st.sampled_from(["soft", "hard"]))
    return LIF(
        decay=draw(st.floats(0.0, 1.0)),
        threshold=draw(st.floats(0.1, 2.0)),
        reset=reset,
        v_reset=draw(st.floats(-1.0, 0.5)) if reset == "hard" else 0.0,
        detach_reset=draw(st.booleans()),
        surrogate=draw(st.sampled_from(sorted(SURROGATES))),
    )


@settings(max_examples=150, deadline=None)
@given(
    cell=neurons(),
    timesteps=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_all_loops_give_exactly_the_same_spikes_for_every_setting(cell, timesteps, seed, dtype):
    current = currents(timesteps, 2, 7, seed=seed, dtype=dtype)
    expected = by_autograd(current, cell.neurons)
    spikes, counts, *_ = cell.neurons.rate(Current.of(current))
    plain = cell.neurons.spikes_only(Current.of(current))
    assert torch.equal(current, currents(timesteps, 2, 7, seed=seed, dtype=dtype)), "the loops change no input"
    assert torch.equal(spikes.to(dtype), expected)
    assert torch.equal(plain, expected)
    assert torch.equal(counts, expected.sum(0).to(torch.uint8))
    assert set(expected.unique().tolist()) <= {0.0, 1.0}


@settings(max_examples=100, deadline=None)
@given(cell=neurons(), timesteps=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_eligibility_is_the_bptt_gradient_of_the_rate_for_a_constant_added_input(cell, timesteps, seed):
    """∂u_t/∂c obeys the recursion of ρ_t, so ∂(mean_t s_t)/∂c = mean_t σ'_t·ρ_t is exact, not an approximation."""
    current = currents(timesteps, 2, 7, seed=seed)
    offset = torch.zeros_like(current[0], requires_grad=True)
    (expected,) = torch.autograd.grad(by_autograd(current + offset, cell.neurons).mean(0).sum(), offset)
    eligibility = cell.neurons.rate(Current.of(current)).derivatives[0]
    torch.testing.assert_close(eligibility, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rule", RESETS)
def test_plain_tensors_in_step_modes_s_and_m_give_the_spikes_of_the_sequence(rule):
    cell, current = LIF(**RESETS[rule]), currents(4, 2, 6)
    expected = by_autograd(current, cell.neurons)
    one_by_one = torch.stack([cell(current_t) for current_t in current])
    cell.reset()
    functional.set_step_mode(cell, "m")
    at_once = cell(current)
    assert torch.equal(one_by_one, expected)
    assert torch.equal(at_once, expected)


@pytest.mark.parametrize("carrier", ["rate", "sequence"])
def test_a_carrier_leaves_no_membrane_behind_and_starts_from_rest(carrier):
    cell, current = LIF(), currents(3, 2, 5)
    cell(current[0])  # leaves a membrane of a plain tensor, which a carrier must neither read nor write
    membrane = cell.v.clone()
    out = cell((RateTensor if carrier == "rate" else SequenceTensor)(Current.of(current)))
    spikes = out.resolve().values()
    assert torch.equal(spikes, by_autograd(current, cell.neurons))
    assert torch.equal(cell.v, membrane)


@pytest.mark.parametrize("before", [1, 3])
def test_another_batch_size_without_a_reset_is_a_value_error_that_names_the_reset(before):
    neuron = LIF()
    neuron(torch.ones(before, 4))
    with pytest.raises(ValueError, match=rf"\[{before}, 4\].*\[2, 4\].*reset\(\).*reset_state"):
        neuron(torch.ones(2, 4))
    neuron.reset()
    assert neuron(torch.ones(2, 4)).shape == (2, 4)
