"""The carriers whose loop over time is outside the network, and the state that they keep between timesteps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF
from rbp_engine.spiking.carriers.rate_s import RateSTensor
from rbp_engine.spiking.carriers.single_step import StepState, StepTensor, TraceTensor

T, B = 4, 3
CARRIERS = {
    "bptt_s": lambda x, state: StepTensor(x, state, through_time=True),
    "sltt": lambda x, state: StepTensor(x, state, through_time=False),
    "ottt": TraceTensor,
    "rate_s": lambda x, state: RateSTensor.of_step(x, state, static=False),
}


def random(*shape):
    return 0.5 + torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run(model, x, carrier):
    """The values of each step, [T, B, …], and the state; `x` is [T, B, …]."""
    state, values = StepState(len(x)), []
    for x_t in x:
        state.next_pass()
        values.append(model(CARRIERS[carrier](x_t, state)).values())
    state.check_complete()
    return torch.stack(values), state


def second_phase(model, mean, state, static=False):
    state.next_pass()
    return model(RateSTensor.of_means(mean, state, static=static)).rate()


DRAWN = {
    "joined": lambda x: torch.cat([x, torch.rand(B, 2, 5, dtype=torch.float64)], 1),
    "chosen": lambda x: x[:, torch.randperm(20)[:7]],
    "in another order": lambda x: x.index_select(1, torch.randperm(20)),
    "a mask of timm": lambda x: x * x.new_empty((x.shape[0], 1, 1)).bernoulli_(0.5),
    "a mask of torchvision": lambda x: x * torch.empty((B, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(0.5),
}


class Drawing(nn.Module):
    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, x):
        return self.operation(x)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("name", DRAWN)
def test_what_an_operation_draws_at_random_is_the_same_at_all_steps_and_in_the_rate_pass(name, carrier):
    x = random(B, 20, 5)
    out, state = run(Drawing(DRAWN[name]), x.expand(T, *x.shape), carrier)
    assert torch.equal(out, out[:1].expand_as(out))
    if carrier == "rate_s":
        torch.testing.assert_close(second_phase(Drawing(DRAWN[name]), x, state), out.mean(0))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_another_operation_at_the_same_position_is_a_value_error(carrier):
    class Alternating(nn.Module):
        count = 0

        def forward(self, x):
            self.count += 1
            return LIF()(x) if self.count % 2 else F.dropout(x, 0.5)

    with pytest.raises(ValueError, match="must not branch in time"):
        run(Alternating(), random(T, B, 5), carrier)


class Delayed(nn.Module):
    """A network that keeps the spikes of a timestep for the next."""

    def __init__(self):
        super().__init__()
        self.into, self.fire, self.out, self.kept = nn.Linear(6, 8), LIF(), nn.Linear(8, 3), None

    def forward(self, x):
        spikes = self.fire(self.into(x))
        received, self.kept = spikes if self.kept is None else self.kept, spikes
        return self.out(received)


def test_spikes_of_a_timestep_that_a_network_keeps_are_not_taken_for_means():
    with pytest.raises(ValueError, match="must not branch in time"):
        create_method("rate_s", T).step(Delayed(), 3 * torch.rand(3, 6), torch.tensor([0, 1, 2]))
