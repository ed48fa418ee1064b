"""A preset can name exactly what the engine has: the schema's choices and the registries are the same."""

import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.methods import METHODS
from rbp_engine.models import MODELS
from rbp_engine.preset.fields import by_key
from rbp_engine.spiking.surrogate import SURROGATES


@pytest.mark.parametrize(
    ("key", "registry"),
    [("model.name", MODELS), ("method.name", METHODS), ("data.name", CATALOG), ("neuron.surrogate", SURROGATES)],
)
def test_the_choices_of_the_schema_are_what_can_be_made(key, registry):
    assert set(by_key()[key].choices) == set(registry)
