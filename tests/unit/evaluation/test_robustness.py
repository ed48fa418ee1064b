"""What a network is tested with beside its plain input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.evaluation.robustness import dropped, noisy, planned


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_half_and_double_t_then_shuffled_noise_and_dropped_steps():
    assert [(test.kind, test.timesteps, test.amount) for test in planned(4)] == [
        ("timesteps", 2, 0.0),
        ("timesteps", 8, 0.0),
        ("shuffled", 4, 0.0),
        ("noise", 4, 0.1),
        ("noise", 4, 0.2),
        ("noise", 4, 0.5),
        ("dropped", 4, 1),
        ("dropped", 4, 2),
    ]


def test_one_timestep_can_neither_be_shuffled_nor_dropped():
    assert {test.kind for test in planned(1)} == {"timesteps", "noise"}
    assert [test.timesteps for test in planned(1) if test.kind == "timesteps"] == [2]


@given(st.integers(1, 50), st.lists(st.integers(1, 100)), st.booleans())
def test_no_test_is_planned_twice_and_some_input_is_left(trained, others, one_t):
    tests = planned(trained, others, one_t=one_t)
    assert len(set(tests)) == len(tests)
    assert all(0 < test.amount < trained for test in tests if test.kind == "dropped")
    named = [test.timesteps for test in tests if test.kind == "timesteps"]
    assert trained not in named and (not others or set(named) == set(others) - {trained})
    if one_t and not others:
        assert not named


@pytest.mark.parametrize("frames", [False, True])
def test_so_many_timesteps_of_each_sample_have_no_input_and_the_others_are_unchanged(frames):
    images = 1 + torch.rand(6, 50, 1, 4, 4) if frames else 1 + torch.rand(50, 1, 4, 4)
    sequence = dropped(images, 6, 2, generator())
    gone = (sequence == 0).flatten(2).all(2)
    assert gone.sum(0).tolist() == [2] * 50
    whole = images if frames else images.expand(6, *images.shape)
    assert torch.equal(sequence[~gone], whole[~gone])
    assert len({tuple(column) for column in gone.T.tolist()}) > 5, "each sample loses others"
    assert torch.equal(sequence, dropped(images, 6, 2, generator()))
    assert not torch.equal(sequence, dropped(images, 6, 2, generator(1)))


def test_noise_has_the_deviation_that_was_asked_for_and_comes_from_the_seed():
    images = torch.rand(100, 1, 8, 8)
    noise = noisy(images, 0.5, generator()) - images
    assert noise.std().item() == pytest.approx(0.5, rel=0.05) and abs(noise.mean().item()) < 0.02
    assert torch.equal(noisy(images, 0.5, generator()), noisy(images, 0.5, generator()))
