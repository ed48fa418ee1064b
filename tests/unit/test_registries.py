"""A preset can name exactly what the engine has: the schema's choices and the registries are the same."""

from rbp_engine.data.catalog import CATALOG
from rbp_engine.methods import METHODS
from rbp_engine.models import MODELS
from rbp_engine.preset.fields import by_key
from rbp_engine.spiking.surrogate import SURROGATES


def test_every_network_of_the_schema_can_be_made():
    assert set(by_key()["model.name"].choices) == set(MODELS)


def test_every_method_of_the_schema_can_be_made():
    assert set(by_key()["method.name"].choices) == set(METHODS)


def test_every_data_set_of_the_schema_is_in_the_catalogue():
    assert set(by_key()["data.name"].choices) == set(CATALOG)


def test_every_surrogate_of_the_schema_exists():
    assert set(by_key()["neuron.surrogate"].choices) == set(SURROGATES)
