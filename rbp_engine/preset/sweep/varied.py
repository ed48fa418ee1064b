"""One setting with several values: what a pair compares, and what the grid of a sweep has several of."""

from dataclasses import dataclass

from rbp_engine.preset.overrides import SHORT_NAMES

OPENING, CLOSING, QUOTES = "[{", "]}", "\"'"


@dataclass(frozen=True)
class Varied:
    """A setting, by its full name or its short one as typed, and its values as texts."""

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


def key_of(word: str) -> str:
    """The dotted key of the setting in an override word."""
    name = word.partition("=")[0].strip()
    return SHORT_NAMES.get(name, name)


def split_values(text: str) -> tuple[str, ...]:
    """The values in a list like `bptt,rate_m`; a comma in brackets or quotes belongs to its value."""
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
    return tuple(part.strip() for part in parts)
