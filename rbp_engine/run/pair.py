"""One setting with several values, over the same seeds: the runs of a paired comparison."""

from dataclasses import dataclass

from rbp_engine.preset import SHORT_NAMES
from rbp_engine.run.errors import RunError

EXAMPLE = "as method=bptt,rate_m"
OPENING, CLOSING, QUOTES = "[{", "]}", "\"'"


@dataclass(frozen=True)
class Pair:
    """A setting, by its full name or its short one as typed, and its values as texts, two or more."""

    name: str
    values: tuple[str, ...]

    @property
    def key(self) -> str:
        """The dotted key of the setting."""
        return SHORT_NAMES.get(self.name, self.name)

    @property
    def words(self) -> tuple[str, ...]:
        """The override for each value."""
        return tuple(f"{self.name}={value}" for value in self.values)

    def __str__(self) -> str:
        return f"{self.name}={','.join(self.values)}"


def parse_pair(text: str) -> Pair:
    """The pair in a text like `method=bptt,rate_m`. Raises RunError; whether values fit the setting is not checked.

    A comma in brackets or quotes belongs to its value.
    """
    name, equals, listed = text.partition("=")
    pair = Pair(name.strip(), tuple(value.strip() for value in _split(listed)))
    if not pair.name or not equals:
        raise RunError(f"--pair {text}: expected one setting and its values, {EXAMPLE}")
    if pair.key == "run.seed":
        raise RunError(f"--pair {text}: the seeds are what pairs have in common; give them with --seeds")
    if "" in pair.values or len(pair.values) < 2:
        raise RunError(f"--pair {text}: expected two or more values, {EXAMPLE}")
    return pair


def _split(text: str) -> list[str]:
    """The parts between commas that are in no bracket and no quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        elif character == "," and depth == 0:
            parts.append("")
            continue
        else:
            depth += (character in OPENING) - (character in CLOSING)
        parts[-1] += character
    return parts
