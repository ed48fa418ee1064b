"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0


def wait_for(
    condition: Callable[[], Any],
    patience_s: float = PATIENCE_S,
    why: Callable[[], Any] = lambda: "what was waited for has not come",
    pause_s: float = 0.02,
) -> Any:
    """Wait for the condition and return its first true value; `why` tells of what there is when patience ends."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, why()
        time.sleep(pause_s)
    return value
