"""The engine of rbp: presets, runs, the methods and training. It does not use Typer or Textual.

loaded = rbp_engine.load("last")     # a trained network, docs/library.md
runs = rbp_engine.runs("T=4")        # the runs as records
"""

from typing import TYPE_CHECKING, Any

from rbp_engine.cores import let_threads_sleep

if TYPE_CHECKING:
    from rbp_engine.loaded import load as load
    from rbp_engine.run_list import runs as runs

__all__ = ["load", "runs"]

let_threads_sleep()  # here, because it has to come before torch


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: commands need neither, and torch takes seconds.
    if name == "load":
        from rbp_engine.loaded import load

        return load
    if name == "runs":
        from rbp_engine.run_list import runs

        return runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
