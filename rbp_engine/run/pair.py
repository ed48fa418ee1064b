"""One setting with several values, over the same seeds: the runs of a paired comparison."""

from rbp_engine.preset.sweep.varied import Varied, split_values
from rbp_engine.run.errors import RunError

EXAMPLE = "as method=bptt,rate_m"


def parse_pair(text: str) -> Varied:
    """The pair in a text like `method=bptt,rate_m`. Raises RunError; whether values fit the setting is not checked.

    A comma in brackets or quotes belongs to its value.
    """
    name, equals, listed = text.partition("=")
    pair = Varied(name.strip(), split_values(listed))
    if not pair.name or not equals:
        raise RunError(f"--pair {text}: expected one setting and its values, {EXAMPLE}")
    if pair.key == "run.seed":
        raise RunError(f"--pair {text}: the seeds are what pairs have in common; give them with --seeds")
    if "" in pair.values or len(pair.values) < 2:
        raise RunError(f"--pair {text}: expected two or more values, {EXAMPLE}")
    return pair
