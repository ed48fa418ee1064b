"""Early stop against its definition, and spans of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.guard.early_stop import EarlyStop
from rbp_engine.guard.time_span import doubled, parse_time_span

scores = st.lists(st.integers(0, 100).map(lambda points: points / 100), max_size=40)
patiences, deltas = st.integers(0, 5), st.integers(0, 10).map(lambda points: points / 100)


def ended_after(scores: list[float], patience: int, delta: float) -> int | None:
    """The epoch after which training ends, by the definition in points."""
    best, at = None, 0
    for epoch, score in enumerate(scores, start=1):
        gained = None if best is None else round(100 * score) - round(100 * best)
        if gained is None or (gained > 0 and gained >= round(100 * delta)):
            best, at = score, epoch
        if patience and epoch - at >= patience:
            return epoch
    return None


def epochs_until(watch: EarlyStop, scores: list[float], first: int = 1) -> int | None:
    for epoch, score in enumerate(scores, start=first):
        watch.add(epoch, score)
        if watch.is_due(epoch):
            return epoch
    return None


@given(scores, patiences, deltas, st.integers(0, 40))
def test_it_comes_after_so_many_epochs_without_so_much_gain_whatever_interrupts_them(scores, patience, delta, cut):
    first = EarlyStop(patience, delta)
    ended = epochs_until(first, scores[:cut])
    second = EarlyStop(patience, delta)
    second.restore(first.state())
    rest = epochs_until(second, scores[cut:], first=cut + 1)
    assert (ended or rest) == ended_after(scores, patience, delta)


@given(
    st.integers(1, 999_999),
    st.sampled_from([("s", 1), ("m", 60), ("min", 60), ("H", 3600), ("d", 86400), ("w", 604800)]),
)
def test_a_span_has_a_number_and_a_unit(number, unit):
    name, seconds = unit
    assert parse_time_span(f"{number}{name}") == parse_time_span(f"{number} {name}") == number * seconds


def test_a_span_can_have_several_units():
    assert parse_time_span("1d12h") == parse_time_span("1.5 d") == parse_time_span("1 d 12 h")
    assert parse_time_span("1h30m") == parse_time_span("1h30min") == 5400.0


def test_twice_a_span_is_a_span():
    assert [doubled(text) for text in ("4h", "1.5 d", "90 s", "1h 30 min")] == ["8h", "3d", "180s", "2h60min"]
    assert parse_time_span(doubled("1.5 d")) == 2 * parse_time_span("1.5 d")


@pytest.mark.parametrize("text", ["", "4", "h", "-1h", "4 hours", "4h30", "1e3 s", "٤h", "1ſ", " 4h", "4h\n"])
def test_anything_else_is_no_span(text):
    with pytest.raises(ValueError, match="as 90s, 30m, 3h, 2d or 1w"):
        parse_time_span(text)
