import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.report.paper import PaperCell, Published
from rbp_engine.report.reproduction import Answer, Reproduction
from rbp_engine.report.spread import Spread, spread

FRACTIONS = st.floats(0, 1)


def cell(published: Published = 0.95, interval: float | None = None) -> PaperCell:
    return PaperCell("p", "cifar10", "resnet18", "rate_m", 4, published, interval, "e")


def found(last: Spread | None, published: Published = 0.95, interval: float | None = None) -> Reproduction:
    return Reproduction(cell(published, interval), last, last, ())


@pytest.mark.parametrize(
    ("one", "answer"),
    [
        (found(None), Answer.NOT_MEASURED),
        (found(spread([0.95])), Answer.UNDECIDED),
        (found(spread([0.94, 0.96]), "not known"), Answer.UNDECIDED),
        (found(spread([0.94, 0.96])), Answer.REPRODUCED),
        (found(spread([0.94, 0.9401])), Answer.NOT_REPRODUCED),
        (found(spread([0.96, 0.9601])), Answer.NOT_REPRODUCED),  # better is another result, too
    ],
)
def test_the_answer_follows_from_the_interval_of_our_mean(one, answer):
    assert one.answer is answer


def test_the_interval_of_the_published_mean_decides_where_it_is_known():
    assert found(spread([0.94]), interval=0.011).answer is Answer.REPRODUCED
    assert found(spread([0.94, 0.96]), 0.96, interval=0.001).answer is Answer.NOT_REPRODUCED


@given(st.lists(FRACTIONS, min_size=2, max_size=5), FRACTIONS)
def test_a_figure_is_reproduced_exactly_if_it_is_inside(ours, published):
    one = found(spread(ours), published)
    assert (one.answer is Answer.REPRODUCED) == (abs(one.difference) <= one.interval + 1e-9)
