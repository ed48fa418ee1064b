"""Ctrl-C to a command that follows its own runs."""

import signal
import sys
from collections.abc import Iterator

import pytest

from rbp_tui.cli.train.interrupts import AskUser, Interrupts


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interrupts]:
    """Those of a command at a terminal, without a queue."""
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in handled}
    made = Interrupts([])
    made.dispatcher_called_at = float("inf")
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_asks_however_often_it_is_pressed_before_the_question(interrupts: Interrupts, times: int) -> None:
    interrupts.tick()
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(AskUser):
        interrupts.tick()
