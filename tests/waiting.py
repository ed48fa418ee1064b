"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0


def wait_for(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait for the condition and return its first true value."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.02)
    return value
