"""Every method, data set and network has the same name everywhere, and every method its own colour."""

import pytest

from rbp_engine.bench.results.figure import COLOURS
from rbp_engine.data.catalog import CATALOG
from rbp_engine.report import names
from rbp_engine.report.panels import METHOD_COLOURS
from rbp_engine.vocabulary import TRAINING_METHODS
from rbp_tui.text import format as fmt


@pytest.mark.parametrize("method", TRAINING_METHODS)
def test_every_method_has_the_same_name_everywhere(method):
    assert names.method(method) == TRAINING_METHODS[method] == fmt.method(method)


def test_every_method_and_every_baseline_has_its_own_colour():
    assert METHOD_COLOURS.keys() == set(TRAINING_METHODS)
    assert len(set(COLOURS.values())) == len(TRAINING_METHODS) + 2


def test_every_data_set_has_a_name_of_its_own():
    assert len({names.data_set(name) for name in CATALOG}) == len(CATALOG)
