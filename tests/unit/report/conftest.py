"""Finished runs as files: created like those of `rbp train`, with a worker's records, without training."""

from collections.abc import Sequence
from typing import Any

import pytest

from rbp_engine.run.files.layout import RunDirectory
from tests.run_files import change_identity, end_run


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def finish_run(runs):
    """Make a run of a preset that ended, as `end_run` does, with more fields of run.json, and accuracies on test data.

    How long it has trained is not known unless it is `timed`, and then it has done all of its steps.
    """

    def finish(
        preset: str = "digits",
        *words: str,
        curve: Sequence[float] = (0.5, 0.8, 0.7),
        test: dict[str, float] | None = None,
        identity: dict[str, Any] | None = None,
        host: str = "here",
        timed: bool = False,
        **changes: Any,
    ) -> RunDirectory:
        how: dict[str, Any] = {"whole": True} if timed else {"whole": False, "steps": 0, "trained_s": 0.0}
        how |= {} if test is None else {"test": test, "split": "held-out"}
        run = end_run(runs, None, *words, preset=preset, curve=curve, **how, **changes)
        change_identity(run, host=host, **(identity or {}))
        return run

    return finish
