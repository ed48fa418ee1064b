"""Decode recordings once, into a cache of frames: `python -m rbp_engine.data.events.convert NAME ROOT CACHE WANTED`.

WANTED is a `FrameSettings` as JSON. It answers as `child.py` says: with the manifest and its folder, or with a message
and the recordings that are unreadable, each with its reason.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbp_engine.child import Progress, answer
from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.events.conversion import Unreadable
from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.data.events.recorded import RecordedSet


def convert(words: Sequence[str], say: Progress) -> dict[str, Any]:
    """Convert what the command line names. Raises UserError and OSError."""
    name, root, cache, wanted = words
    data_set = CATALOG[name]
    assert isinstance(data_set, RecordedSet)
    try:
        done = data_set.convert(Path(root), Path(cache), FrameSettings(**json.loads(wanted)), on_progress=say)
    except Unreadable as error:
        return {"message": str(error), "unreadable": error.problems}
    return done.manifest | {"folder": str(done.folder)}


if __name__ == "__main__":
    sys.exit(answer(lambda say: convert(sys.argv[1:], say), Path(os.devnull)))  # no code of the user's
