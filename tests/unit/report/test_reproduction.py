import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rbp_engine.report.paper import PaperCell, Published
from rbp_engine.report.reproduction import Answer, Reproduction, reproductions
from rbp_engine.report.spread import Spread, judge_differences, spread

FRACTIONS = st.floats(0, 1)


def found(last: Spread | None, published: Published = 0.95, standard_error: float = 0.0) -> Reproduction:
    cell = PaperCell("p", "cifar10", "resnet18", "rate_m", 4, published, standard_error, "e")
    one = Reproduction(cell, last, last, ())
    (judged,) = judge_differences([one.difference], 0.01)
    return Reproduction(cell, last, last, (), judged)


@pytest.mark.parametrize(
    ("one", "answer"),
    [
        (found(None), Answer.NOT_MEASURED),
        (found(spread([0.95])), Answer.UNDECIDED),
        (found(spread([0.949, 0.95, 0.951]), "not known"), Answer.UNDECIDED),
        (found(spread([0.949, 0.95, 0.951])), Answer.REPRODUCED),
        (found(spread([0.944, 0.945, 0.946])), Answer.REPRODUCED),  # a difference that is there, below the margin
        (found(spread([0.93, 0.95, 0.97])), Answer.UNDECIDED),  # the same mean, from noisier runs
        (found(spread([0.929, 0.93, 0.931])), Answer.NOT_REPRODUCED),
        (found(spread([0.969, 0.97, 0.971])), Answer.NOT_REPRODUCED),  # better is another result, too
    ],
)
def test_the_answer_follows_from_the_tests_of_the_difference(one, answer):
    assert one.answer is answer


def test_a_published_deviation_widens_the_interval_as_that_of_a_control():
    ours = spread([0.949, 0.95, 0.951])
    assert found(ours, standard_error=0.01).answer is Answer.UNDECIDED
    (wider,) = judge_differences([found(ours, standard_error=0.001).difference], 0.01)
    assert wider.interval == pytest.approx(2.92 * (0.001**2 / 3 + 0.001**2) ** 0.5, rel=1e-3)


@given(st.lists(FRACTIONS, min_size=2, max_size=5), FRACTIONS)
def test_a_cell_alone_is_reproduced_exactly_if_its_90_percent_interval_is_within_a_point(ours, published):
    one = found(spread(ours), published)
    assume(one.difference.std > 0)
    reach = abs(one.judged.difference.mean) + one.judged.interval
    assert (one.answer is Answer.REPRODUCED) == (reach < 0.01) or abs(reach - 0.01) < 1e-9


def test_cells_are_judged_together():
    cells = [PaperCell("p", "cifar10", "resnet18", "rate_m", 4, 0.95, 0.0, name) for name in "ab"]
    assert [one.answer for one in reproductions(cells, [])] == [Answer.NOT_MEASURED] * 2
