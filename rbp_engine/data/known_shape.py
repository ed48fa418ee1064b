"""The shape of a preset's data and whether they are here, without opening them."""

from rbp_engine.data.catalog import catalogued
from rbp_engine.data.data_set import DataShape
from rbp_engine.data.opening import DataSettings
from rbp_engine.user_code import is_own


def known_shape(data: DataSettings) -> DataShape | None:
    """The shape of a preset's data, without opening it; None for a user's own data set, by code or in folders."""
    return None if is_own(data.name) else catalogued(data.name).shape(data)


def is_here(data: DataSettings) -> bool:
    """Whether the data can be opened quickly. Recordings may first need a conversion, which takes minutes."""
    if is_own(data.name):
        return True
    data_set = catalogued(data.name)
    return data_set.kind != "recordings" and data_set.find().found
