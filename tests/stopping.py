"""Stop a run as `rbp stop` does, in one call."""

from rbp_engine.run import control
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import Verdict


def stop(run: RunDirectory, patience_s: float = 600.0) -> Verdict:
    """Ask a live run to stop, and wait for its end. Raises RunError as `rbp stop` does."""
    control.require_live(run)
    control.request_stop(run)
    return control.wait_for_end(run, patience_s)
