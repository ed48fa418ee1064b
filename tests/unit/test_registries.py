"""A preset can name exactly what the engine has: the schema's choices and the registries are the same."""

from rbp_engine.data.catalog import CATALOG
from rbp_engine.methods import METHODS
from rbp_engine.models import MODELS
from rbp_engine.preset import choices
from rbp_engine.spiking.surrogate import SURROGATES


def test_every_network_of_the_schema_can_be_made():
    assert set(choices("model.name")) == set(MODELS)


def test_every_method_of_the_schema_can_be_made():
    assert set(choices("method.name")) == set(METHODS)


def test_every_data_set_of_the_schema_is_in_the_catalogue():
    assert set(choices("data.name")) == set(CATALOG)


def test_every_surrogate_of_the_schema_exists():
    assert set(choices("neuron.surrogate")) == set(SURROGATES)
