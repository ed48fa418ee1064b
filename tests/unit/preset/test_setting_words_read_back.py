"""A setting written as a word is read back as the same setting."""

from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.preset import setting_word
from rbp_engine.preset.overrides import Override, parse_overrides

WORDS = st.text(min_size=0, max_size=20).map(str.strip)
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
SETTINGS = st.one_of(
    st.tuples(st.sampled_from(["method.name", "run.name", "model.name"]), WORDS),
    st.tuples(st.sampled_from(["method.timesteps", "optim.lr", "train.epochs"]), NUMBERS),
    st.tuples(st.just("data.drop_last"), st.booleans()),
    st.tuples(st.just("run.tags"), st.lists(st.text(max_size=8), max_size=3)),
    st.tuples(
        st.just("model.args"), st.dictionaries(st.from_regex("[a-z_]{1,5}", fullmatch=True), NUMBERS, max_size=3)
    ),
)


@given(SETTINGS)
def test_a_setting_written_as_a_word_is_read_back(setting):
    key, value = setting
    word = setting_word(key, value)
    assert parse_overrides([word]) == ([Override(key, value, word)], [])


def test_a_word_has_the_short_name():
    assert setting_word("method.timesteps", 6) == "T=6" and setting_word("optim.momentum", 0.9) == "optim.momentum=0.9"
