"""Check the content of data sets, for `rbp data check`: `python -m rbp_engine.data.check NAME…`.

A process of its own, because sets that come in a package load scikit-learn.
"""

import json
import sys
from collections.abc import Sequence

from rbp_engine.data.catalog import check


def main(names: Sequence[str]) -> None:
    """Write {name: [problems]} on stdout, as one line of JSON. Raises KeyError for a name not in the catalog."""
    sys.stdout.write(json.dumps({name: check(name) for name in names}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
