"""What a comparison measures: the baselines by name."""

import pytest

from rbp_engine.bench import baselines as made
from rbp_engine.bench.results.comparison import BASELINES, baselines


def test_all_baselines_are_those_that_can_be_made():
    assert baselines(["all"]) == list(made.BASELINES) == list(BASELINES)


def test_named_baselines_keep_their_order_and_an_unknown_one_is_refused():
    assert baselines(["ann", "memopt"]) == ["ann", "memopt"]
    with pytest.raises(ValueError, match=r"no baseline is called 'torch': one of spikingjelly, memopt, .*, or all"):
        baselines(["memopt", "torch"])
