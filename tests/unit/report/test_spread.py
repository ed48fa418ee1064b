import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from rbp_engine.report.spread import holm, judge_differences, paired, spread

fractions = st.lists(st.floats(0, 1), min_size=2, max_size=12)
points = st.lists(st.floats(-3, 3).map(lambda value: round(value, 3)), min_size=2, max_size=8)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


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


@given(points)
def test_the_p_values_of_one_comparison_are_those_of_student_t_tests(values):
    assume(len(set(values)) > 1)
    (found,) = judge_differences([spread(values)], 1.0)
    above, below = (
        stats.ttest_1samp(values, bound, alternative=side).pvalue for bound, side in ((-1, "greater"), (1, "less"))
    )
    assert found.equivalent_p == pytest.approx(max(above, below), abs=1e-9)
    assert found.different_p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, abs=1e-9)


@given(points)
def test_one_comparison_is_equivalent_exactly_if_its_90_percent_interval_lies_within_the_margin(values):
    (found,) = judge_differences([spread(values)], 1.0)
    reach = abs(found.difference.mean) + found.interval
    assume(abs(reach - 1.0) > 1e-9 and found.difference.std > 0)
    assert ("equivalent" in found.word) == (reach < 1.0)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([0.1, -0.1, 0.05, -0.05], "equivalent"),
        ([2.0, 2.1, 1.9, 2.2], "different"),
        ([0.4, 0.41, 0.39, 0.4], "equivalent, different"),
        ([3.0, -3.0, 0.5, -0.4], "inconclusive"),
        ([0.5, 0.5, 0.5], "inconclusive"),  # of few images accuracies are equal by chance
        ([0.0, 0.0], "inconclusive"),
    ],
)
def test_each_verdict(values, word):
    (found,) = judge_differences([spread(values)], 1.0)
    assert found.word == word


def test_more_noise_never_makes_a_comparison_equivalent():
    quiet, noisy = ([scale * value for value in (1.0, -1.0, 0.5, -0.5)] for scale in (0.3, 3.0))
    assert [one.word for one in judge_differences([spread(quiet)], 1.0)] == ["equivalent"]
    assert [one.word for one in judge_differences([spread(noisy)], 1.0)] == ["inconclusive"]


def test_a_verdict_of_one_comparison_may_not_hold_among_several():
    barely, wide = spread([0.7, 0.3, -0.1, 0.7]), spread([5.0, -5.0, 1.0])
    (alone,) = judge_differences([barely], 1.0)
    among, *_ = judge_differences([barely, wide, wide], 1.0)
    assert (alone.word, among.word) == ("equivalent", "inconclusive")


def test_a_single_seed_has_no_verdict_and_does_not_count_among_the_comparisons():
    ours = spread([0.1, 0.2, 0.0])
    assert judge_differences([spread([0.4]), ours, None], 1.0) == [None, *judge_differences([ours], 1.0), None]
    with pytest.raises(ValueError, match="margin must be above 0, got 0"):
        judge_differences([ours], 0.0)


def test_holm_corrects_as_in_a_published_example():
    # Four tests: 0.01 × 4, 0.02 × 3, 0.03 × 2 (not below the one before), 0.04 × 1 (likewise).
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(p_values)
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferronis(values):
    found = holm(values)
    assert all(p <= corrected <= min(1.0, len(values) * p) for p, corrected in zip(values, found, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(found[one] <= found[other] for one, other in itertools.pairwise(order))
