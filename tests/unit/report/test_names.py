"""Every method, data set and network has one name, wherever it is shown, and every method a colour of its own."""

from typing import get_args

import pytest

from rbp_engine.bench.results.figure import COLOURS
from rbp_engine.data.catalog import CATALOG
from rbp_engine.preset.schema import Method
from rbp_engine.report import names
from rbp_engine.report.panels import METHOD_COLOURS
from rbp_tui.text import format as fmt

METHODS = get_args(Method.model_fields["name"].annotation)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_name_that_is_the_same_everywhere(method: str) -> None:
    assert names.method(method) == names.METHODS[method] == fmt.method(method)


def test_every_method_and_every_baseline_has_a_colour_of_its_own() -> None:
    assert METHOD_COLOURS.keys() == set(METHODS)
    assert len(set(COLOURS.values())) == len(METHODS) + 3


def test_only_data_sets_that_there_are_have_names() -> None:
    assert names.DATA_SETS.keys() <= CATALOG.keys()
