"""One neuron over three steps, by hand from the equations; all methods at one step; and the limits of settings."""

import pytest
import torch
from torch import nn

from rbp_engine.spiking import LIF, RateTensor
from rbp_engine.spiking.current import Current
from tests.unit.spiking.method_checks import check_one_gradient_at_t_1

# The surrogate of these cases has rational slopes: σ'(x) = 1 − |x| for |x| ≤ 1 (piecewise quadratic, α = 1).
TRIANGLE = {"decay": 0.5, "surrogate": "piecewise_quadratic", "surrogate_args": {"alpha": 1.0}}

BY_HAND = {
    # u = 1.2, 0.5·0.2 + 0.6 = 0.7, 0.5·0.7 + 0.9 = 1.25    σ' = 0.8, 0.7, 0.75    ρ = 1, 1 + 0.5, 1 + 0.5·1.5
    "soft, detached": ({}, [1.2, 0.6, 0.9], (0.8 * 1.0 + 0.7 * 1.5 + 0.75 * 1.75) / 3),
    # u = −0.5 + 1.7 = 1.2, −0.5 + 0.6 = 0.1, −0.5 + 0.5·(0.1 + 0.5) + 1.4 = 1.2    σ' = 0.8, 0.1, 0.8
    # ρ_2 = 1 + 0.5·(0 − (1.2 + 0.5)·0.8) = 0.32, ρ_3 = 1 + 0.5·(1 − (0.1 + 0.5)·0.1)·0.32 = 1.1504
    "hard to -0.5, not detached": (
        {"reset": "hard", "v_reset": -0.5, "detach_reset": False},
        [1.7, 0.6, 1.4],
        (0.8 * 1.0 + 0.1 * 0.32 + 0.8 * 1.1504) / 3,
    ),
    # V_th = 2: u = 2.5, 1.75, 2.875    σ' = 0.5, 0.75, 0.125    ρ_2 = 1 + 0.5·(1 − 2·0.5), ρ_3 = 1 + 0.5·(1 − 2·0.75)·1
    "soft, not detached, threshold 2": (
        {"threshold": 2.0, "detach_reset": False},
        [2.5, 1.5, 2.0],
        (0.5 * 1.0 + 0.75 * 1.0 + 0.125 * 0.75) / 3,
    ),
}


def column(values):
    """[T, B = 1, 1] of one neuron."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)


@pytest.mark.parametrize("case", BY_HAND)
def test_rate_tensor_passes_the_gradient_of_the_rate_times_the_eligibility(case):
    settings, current, expected_eligibility = BY_HAND[case]
    mean = column(current).mean(0).requires_grad_()
    out = LIF(**TRIANGLE, **settings)(RateTensor(Current.of(column(current), mean)))
    (gradient,) = torch.autograd.grad(out.rate(), mean, torch.full_like(mean, 3.0))
    assert out.resolve().values().flatten().tolist() == [1.0, 0.0, 1.0]
    assert out.rate().item() == pytest.approx(2 / 3, abs=1e-12)
    assert gradient.item() == pytest.approx(3.0 * expected_eligibility, abs=1e-12)


def test_the_default_neuron_is_the_papers():
    # u = 1.25, 0.2·0.25 + 0.7 = 0.75, 0.2·0.75 + 1 = 1.15    ρ = 1, 1.2, 1.24
    # 4·σ(4x)(1 − σ(4x)) at x = ±0.25: 4·0.196611933241; at x = 0.15: 4·0.228784240456
    spikes, count, [eligibility], *_ = LIF().neurons.rate(Current.of(column([1.25, 0.7, 1.0])))
    assert spikes.flatten().tolist() == [1.0, 0.0, 1.0]
    assert count.item() == 2
    expected = (4 * 0.196611933241 * (1.0 + 1.2) + 4 * 0.228784240456 * 1.24) / 3
    assert eligibility.item() == pytest.approx(expected, abs=1e-10)


def test_a_membrane_exactly_at_the_threshold_fires():
    current = column([1.0])
    parameters = LIF().neurons
    assert parameters.rate(Current.of(current))[0][0].item() == 1
    assert parameters.timestep(torch.zeros_like(current[0]), current[0])[0].item() == 1
    assert parameters.spikes_only(Current.of(current))[0].item() == 1


def test_at_t_1_all_methods_have_one_gradient():
    def network():
        return nn.Sequential(
            nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), LIF(), nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5),
            LIF(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(20, 3),
        )  # fmt: skip

    images = torch.rand(4, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check_one_gradient_at_t_1(network, images, torch.tensor([0, 1, 2, 0]))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"decay": -0.1}, "decay"),
        ({"decay": 1.1}, "decay"),
        ({"decay": float("nan")}, "decay"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": -1.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"reset": "none"}, "reset"),
        ({"reset": "soft", "v_reset": -0.5}, "v_reset"),
        ({"surrogate": "heaviside"}, "surrogate"),
    ],
)
def test_a_setting_out_of_range_is_a_value_error_that_names_it(settings, named):
    with pytest.raises(ValueError, match=named):
        LIF(**settings)


@pytest.mark.parametrize("settings", [{"tua": 2.0}, {"surrogate_args": {"beta": 1.0}}])
def test_an_unknown_setting_is_a_type_error(settings):
    with pytest.raises(TypeError, match=r"tua|beta"):
        LIF(**settings)
