"""Names as the paper writes them."""

from rbp_engine.data.catalog import CATALOG
from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_engine.vocabulary import NETWORKS, TRAINING_METHODS


def data_set(name: str) -> str:
    return CATALOG[name].paper_name if name in CATALOG else one_line(name, LONGEST_NAME)


def network(name: str) -> str:
    return NETWORKS.get(name, one_line(name, LONGEST_NAME))


def method(name: str) -> str:
    return TRAINING_METHODS.get(name, one_line(name, LONGEST_NAME))


def method_rank(name: str) -> tuple[int, str]:
    """A sort key for methods: in the order of the paper, unknown ones last."""
    known = list(TRAINING_METHODS)
    return (known.index(name) if name in known else len(known), name)


def setting(key: str, value: object) -> str:
    """A setting of a preset, like `optim.lr = 0.05`."""
    return f"{one_line(key)} = {shown_value(value)}"


def shown_value(value: object) -> str:
    """The value of a setting, to be shown; an empty one, as a teacher's name, is `none`."""
    return value_text(value) or "none"


def value_text(value: object) -> str:
    """The value of a setting as a preset writes it, without quotes."""
    return one_line(_value(value))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
