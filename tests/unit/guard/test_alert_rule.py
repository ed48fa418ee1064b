"""The grammar of alert rules, and what a rule holds of."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.guard.alert_rule import COMPARISONS, NAMES, AlertRule, parse_alert

numbers = st.floats(min_value=0.0, max_value=1e6, allow_nan=False).map(lambda number: f"{number:.6g}")


@st.composite
def rules(draw: st.DrawFn) -> tuple[str, str, str, str, str, int]:
    name = draw(st.sampled_from(sorted(NAMES)))
    unit = draw(st.sampled_from(sorted(NAMES[name])))
    place = draw(st.sampled_from(["", "epoch", "step"]))
    return name, draw(st.sampled_from(sorted(COMPARISONS))), draw(numbers), unit, place, draw(st.integers(0, 10**6))


@given(
    rules(), st.sampled_from(["", " ", "   "]), st.floats(allow_nan=False), st.integers(0, 10**6), st.integers(0, 10**6)
)
def test_a_rule_holds_of_what_its_words_say(given_rule, space, value, epoch, step):
    name, comparison, number, unit, place, count = given_rule
    after = f" {space}after {place} {space}{count}" if place else ""
    rule = parse_alert(
        f"{space}{name}{space}{comparison}{space}{number}{space[:1] if unit else ''}{unit}{after}{space}"
    )
    percent = not unit and float(number) > 1 and NAMES[name].keys() == {"", "%"}
    limit = float(number) * NAMES[name]["%" if percent else unit]
    assert (rule.name, rule.limit) == (name, limit) and parse_alert(rule.text) == rule
    so = {"<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit}[comparison]
    due = {"": True, "epoch": epoch >= count, "step": step >= count}[place]
    assert rule.holds(value, epoch, step) == (so and due)
    assert not rule.holds(math.nan, epoch, step)


@given(st.text() | st.text(alphabet="valtop1.<>= 0.2%aftrepochs"))
def test_any_other_text_is_refused_with_a_sentence(text):
    try:
        assert isinstance(parse_alert(text), AlertRule)
    except ValueError as error:
        assert len(str(error)) > 10


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("trian.loss < 0.2 after epoch ten", ["Did you mean 'train.loss'?", "after epoch 'ten' is no whole number"]),
        ("memory > 90", ["write 90 % or 90 MiB or 90 GiB"]),
        ("train.loss > 3 ms", ["'3 ms' has no unit of train.loss: write 3"]),
        ("acc > many", ["'acc' is no number of a run", "'many' is no number"]),
        ("train.loss > 1e999", ["'1e999' is no number"]),
        ("train.loss > 3 after breakfast", ["expected a name, a comparison"]),
        ("train.loss = 3", ["expected a name, a comparison"]),
        ("train.loss > ٣", ["is no number"]),
        ("train.loss > nan", ["'nan' is no number"]),
    ],
)
def test_all_that_is_wrong_is_said_at_once(text, problems):
    with pytest.raises(ValueError, match=r"\w") as error:
        parse_alert(text)
    assert all(problem in str(error.value) for problem in problems)


def test_a_share_may_be_written_in_per_cent_and_is_shown_so():
    rule = parse_alert("val.top1 < 20 %")
    assert rule.limit == parse_alert("val.top1 < 0.2").limit == parse_alert("val.top1 < 20").limit
    assert rule.shown(0.125) == "12.5 %"
    assert parse_alert("memory > 2 GiB").shown(3 * 2.0**30) == "3 GiB"
    assert parse_alert("memory > 90 %").of_capacity and not parse_alert("memory > 2 GiB").of_capacity


@pytest.mark.parametrize("sign", [" ", "<", "1", "after ", "val.top1 < "])
def test_a_long_text_is_refused(sign):
    with pytest.raises(ValueError, match="expected a name"):
        parse_alert(sign * 500_000)
