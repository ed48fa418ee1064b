import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rbp_engine.preset import SHORT_NAMES, fields, setting_word
from rbp_engine.preset.overrides import Override, parse_overrides


def value_of(word: str) -> Any:
    overrides, problems = parse_overrides([word])
    assert problems == []
    return overrides[0].value


def problem_of(word: str) -> str:
    overrides, problems = parse_overrides([word])
    assert overrides == []
    assert problems[0].source == word
    return problems[0].message


def test_short_names_stand_for_keys_of_presets():
    assert set(SHORT_NAMES) == {"T", "method", "lr", "batch", "epochs", "seed", "arch", "data"}
    assert set(SHORT_NAMES.values()) <= {info.key for info in fields()}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("T=6", 6),
        ("optim.lr=1e-3", 1e-3),
        ("data.flip=true", True),
        ('run.tags=["a", "b"]', ["a", "b"]),
        ("neuron.surrogate_args={alpha = 2.0}", {"alpha": 2.0}),
        ("T=four", "four"),
        ("method.loss_scale=1", "1"),
        ("run.name=true", "true"),
        ("run.name=a=b", "a=b"),
        ("run.name=", ""),
        ("neuron.learn=decay,threshold", ["decay", "threshold"]),
        ("run.tags=paper", ["paper"]),
        ("loss.branches=2, 6", ["2", "6"]),
        ("run.tags=[]", []),
        ("optim.milestones=3,6", "3,6"),
        ("T=1\n[run]\nseed=2", "1\n[run]\nseed=2"),  # which adds no second key
    ],
)
def test_values_are_toml_and_strings_and_lists_of_strings_need_no_quotes(word, value):
    found = value_of(word)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("foo", "expected key=value"),
        ("timesteps=4", "Did you mean 'method.timesteps'?"),
        ("arhc=convnet", "Did you mean 'arch'?"),
        ("optim.lrr=4", "Did you mean 'optim.lr'?"),
        ("learning_rate=0.1", "Did you mean 'optim.lr'?"),
        ("lernrate=0.1", "Did you mean 'optim.lr'?"),
        ("optim=4", "'optim' is a section; name one of its fields: optim.name, optim.lr"),
        ("=4", "unknown key"),
        ("extends=digits", "unknown key"),
        ("qqqqqq=1", "unknown key."),
        ("optim.lr.x=1", "unknown key"),
    ],
)
def test_a_word_that_is_not_a_setting_is_refused(word, message):
    assert message in problem_of(word)


@given(info=st.sampled_from(fields()), begin=st.integers(0, 20), words=st.integers(1, 3), between=st.sampled_from("_-"))
def test_what_is_suggested_for_words_of_a_description_exists(info, begin, words, between):
    typed = between.join(info.text.split()[begin : begin + words])
    assume(typed.isascii() and "=" not in typed and "." not in typed)
    _, problems = parse_overrides([f"{typed}=1"])
    for one in problems:
        for key in re.findall(r"mean '([^']*)'", one.message):
            assert not parse_overrides([f"{key}=1"])[1]


@given(st.text())
def test_plain_strings_are_read_back_without_surrounding_space(text):
    assert value_of(f"run.name={text}") == text.strip()


@given(st.text())
def test_any_word_can_be_parsed(word):
    overrides, problems = parse_overrides([word, f"T={word}", f"optim.{word}"])
    assert len(overrides) + len(problems) == 3


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
