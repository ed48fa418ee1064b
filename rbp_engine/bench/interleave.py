"""Several cases measured side by side: one process each, turn by turn, so that a busy machine is busy for all."""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rbp_engine.bench.step import Case

# Variables that change what a step costs; each measurement says which it sets.
_TUNING = ("OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "LD_PRELOAD", "DNNL_", "ONEDNN_")


@dataclasses.dataclass(frozen=True)
class Measured:
    """Medians: seconds of a step, processor seconds of all threads, and peak memory over the base in bytes."""

    seconds: float
    cpu_seconds: float
    peak: int


class Process:
    """A process that takes training steps of one case when it is told to."""

    def __init__(self, case: Case, environment: Mapping[str, str]) -> None:
        plain = {key: value for key, value in os.environ.items() if not key.startswith(_TUNING)}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "rbp_engine.bench.step", json.dumps(dataclasses.asdict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=plain | dict(environment),
        )
        self._answer()

    def step(self) -> Measured:
        """Take one step."""
        assert self.child.stdin is not None
        self.child.stdin.write("step\n")
        self.child.stdin.flush()
        return Measured(**self._answer())

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"the benchmark's process ended with exit code {self.child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(
    cases: Sequence[Case], environments: Sequence[Mapping[str, str]], *, rounds: int, warm_up: int = 1
) -> list[Measured]:
    """Medians over `rounds` turns of all cases; each case runs in the environment of the same place."""
    processes: list[Process] = []
    try:
        for case, environment in zip(cases, environments, strict=True):
            processes.append(Process(case, environment))
        taken = [[process.step() for process in processes] for _ in range(warm_up + rounds)]
    finally:
        for process in processes:
            process.close()
    return [_median(turns) for turns in zip(*taken[warm_up:], strict=True)]


def _median(steps: Sequence[Measured]) -> Measured:
    return Measured(
        statistics.median(step.seconds for step in steps),
        statistics.median(step.cpu_seconds for step in steps),
        int(statistics.median(step.peak for step in steps)),
    )
