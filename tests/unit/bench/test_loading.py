"""The cases of loading that are measured for a run's data."""

import pytest

from rbp_engine.bench.measure.loading import run_cases
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.preset import load_preset


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        ([], [0, 0]),
        (["data.augment_backend=pil"], [2, 0]),
        (["data.augment_backend=pil", "data.mixup=0.2"], [2, 0]),
        (["data=moving_digits", "T=2"], [2, 2]),
    ],
    ids=["in memory", "image by image", "mixed", "event frames"],
)
def test_a_case_has_the_processes_that_read_its_batches(words: list[str], workers: list[int]) -> None:
    with temporary_run(load_preset("digits", ["run.device=cpu", "data.workers=2", *words])) as run:
        assert [case.workers for case in run_cases(run)] == workers
