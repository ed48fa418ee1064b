"""The share of a step in which a card waits, from the spans of its kernels."""

import pytest

from rbp_engine.bench.measure.idle import idle_share, measure
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.preset import load_preset


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0.0, 4.0)], 0.0),
        ([(0.0, 1.0), (3.0, 4.0)], 0.5),
        ([(3.0, 4.0), (0.0, 1.0)], 0.5),
        ([(0.0, 3.0), (1.0, 2.0), (2.0, 4.0)], 0.0),  # kernels of several streams
        ([(10.0, 11.0), (10.5, 12.0), (16.0, 20.0)], 0.4),
    ],
)
def test_time_that_no_kernel_covers_is_idle(spans: list[tuple[float, float]], expected: float) -> None:
    assert idle_share(spans) == pytest.approx(expected)


def test_a_profile_without_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match="the profiler has seen no kernel"):
        idle_share([])


def test_the_operations_of_a_step_stand_in_for_kernels_on_a_cpu() -> None:
    counted = {}
    for timesteps in (1, 3):
        words = ["run.device=cpu", "batch=4", f"T={timesteps}", "method=bptt_s"]
        with temporary_run(load_preset("digits", words)) as run:
            found = measure("ours", run, lambda doing, share: None)
        assert 0.0 <= found["idle"] < 1.0
        counted[timesteps] = found["kernels"]
    assert 0 < counted[1] < counted[3]
