import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.report.spread import paired, spread

fractions = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(fractions)
def test_mean_and_deviation_are_those_of_a_sample(values):
    found = spread(values)
    assert found.count == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert spread(values[::-1]) == found and min(values) <= found.mean <= max(values)
    assert spread([values[0]] * len(values)).std == 0.0


@given(st.floats(0, 1))
def test_a_single_value_has_neither_deviation_nor_interval(value):
    found = spread([value])
    assert (found.mean, found.std, found.interval, found.count) == (value, None, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        spread([])


# Published quantiles of Student's t, two-sided 95 %.
@pytest.mark.parametrize(("freedom", "t"), [(1, 12.7062), (2, 4.3027), (10, 2.2281), (30, 2.0423)])
def test_the_interval_of_a_mean_is_that_of_students_t(freedom, t):
    found = spread([float(value) for value in range(freedom + 1)])
    assert found.interval == pytest.approx(t * found.std / (freedom + 1) ** 0.5, rel=1e-4)


@given(st.dictionaries(st.integers(0, 9), st.floats(0, 1), min_size=1), st.dictionaries(st.integers(0, 9), fractions))
def test_differences_are_paired_by_seed_and_have_the_interval_of_their_mean(ours, theirs):
    theirs = {seed: values[0] for seed, values in theirs.items()}
    shared = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    assert paired(ours, theirs) == (spread(shared) if shared else None)
    assert paired({**ours, None: 1.0}, {**theirs, None: 0.0}) == paired(ours, theirs), "an unknown seed is that of none"
