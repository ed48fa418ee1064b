"""Names as the paper writes them, and text that is safe to show anywhere."""

from rbp_engine.vocabulary import DATA_SETS, NETWORKS, TRAINING_METHODS


def data_set(name: str) -> str:
    return DATA_SETS.get(name, one_line(name))


def network(name: str) -> str:
    return NETWORKS.get(name, one_line(name))


def method(name: str) -> str:
    return TRAINING_METHODS.get(name, one_line(name))


def method_rank(name: str) -> tuple[int, str]:
    """A sort key for methods: in the order of the paper, unknown ones last."""
    known = list(TRAINING_METHODS)
    return (known.index(name) if name in known else len(known), name)


def one_line(text: str) -> str:
    """The text without line breaks and control characters, which names in a run from elsewhere may contain."""
    return text if text.isprintable() else "".join(character if character.isprintable() else " " for character in text)


def setting(key: str, value: object) -> str:
    """A setting of a preset, like `optim.lr = 0.05`."""
    return f"{one_line(key)} = {value_text(value)}"


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
