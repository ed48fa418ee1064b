"""What `run.log` of a tracked run costs a training loop, against the same loop without it: interleaved, medians.

A step is a spin of a millisecond, which does what the loop of a program does to Python: it holds the interpreter. The
call itself is what the loop waits for; the rest is what the recording thread takes of the interpreter meanwhile.
"""

import statistics
import tempfile
import time
from collections.abc import Callable

from rbp_engine.run import track

ROUNDS, STEPS, STEP_S = 11, 500, 0.001


def spin() -> None:
    until = time.process_time() + STEP_S
    while time.process_time() < until:
        pass


def loop(log: Callable[..., None] | None) -> tuple[float, float]:
    """Seconds for all steps, and those in calls of `log`."""
    called = 0.0
    begun = time.perf_counter()
    for step in range(STEPS):
        spin()
        if log is not None:
            before = time.perf_counter()
            log(loss=1.0 / (step + 1), top1=0.5, lr=0.1)
            called += time.perf_counter() - before
    return time.perf_counter() - begun, called


plain: list[float] = []
logged: list[float] = []
calls: list[float] = []
with tempfile.TemporaryDirectory() as runs, track({"lr": 0.1}, runs_dir=runs) as run:
    for _ in range(ROUNDS):
        plain.append(loop(None)[0])
        seconds, inside = loop(run.log)
        logged.append(seconds)
        calls.append(inside)

ratio = statistics.median(logged) / statistics.median(plain)
print(f"a call of log with three numbers   {1e6 * statistics.median(calls) / STEPS:.1f} µs")
print(f"a loop of steps of {1000 * STEP_S:g} ms that logs each, by one that does not   {ratio:.4f}")
