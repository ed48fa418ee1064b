"""Check the contents of data sets, for `rbp data check`: `python -m rbp_engine.data.check NAME…`.

A separate process, because decoding images loads torch.
"""

import json
import sys
from collections.abc import Sequence

from rbp_engine.data.catalog import catalogued


def main(names: Sequence[str]) -> None:
    """Print {name: [problems]} as one line of JSON. Raises KeyError for a name that is not in the catalogue."""
    sys.stdout.write(json.dumps({name: catalogued(name).check() for name in names}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
