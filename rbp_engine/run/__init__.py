"""A run as files: where they are, what they contain, how to start, watch and end a run. No torch, no front end.

with rbp_engine.run.track({"lr": 0.1}) as run:     # another program's training loop, docs/library.md
    run.log(loss=0.3)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbp_engine.run.tracking.track import track as track

__all__ = ["track"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: whatever is in this package imports the package first.
    if name == "track":
        from rbp_engine.run.tracking.track import track

        return track
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
