"""One way to train, in a process of its own: `python -m rbp_engine.bench.step CASE`, where CASE is a `Case` as JSON.

It prints one line of JSON when it is ready and one for every line on its stdin, after a training step: its seconds,
the processor seconds of all threads, and the peak of the resident set over what it was before the first step, in
bytes. A step is all of it: gradients to None, forward, backward and the optimizer.
"""

import ctypes
import dataclasses
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.bench.baselines import BASELINES
from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.train.optimisation import create_optimizer


@dataclasses.dataclass(frozen=True)
class Case:
    """`method` is one of ours, or one of `rbp_engine.bench.baselines`; precision and kernel are for ours alone."""

    method: str
    timesteps: int
    precision: str = "fp32"
    kernel: str = "eager"
    network: str = "resnet18"
    batch: int = 32
    channels: int = 3
    size: int = 32
    classes: int = 10

    @property
    def ours(self) -> bool:
        return self.method not in BASELINES

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"{self.method} {self.precision} {self.kernel}" if self.ours else self.method


def prepare(case: Case) -> Callable[[int], None]:
    """A function that makes one whole training step on a batch of that many images."""
    torch.manual_seed(0)
    model = create_model(case.network, num_classes=case.classes, in_channels=case.channels, kernel=case.kernel).train()
    if not case.ours:
        model = model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in its types
    step = _method_step(model, case) if case.ours else BASELINES[case.method](model, case.timesteps)
    optimizer = create_optimizer(model, "sgd", lr=1e-3)

    def whole_step(batch: int) -> None:
        images, labels = torch.rand(batch, case.channels, case.size, case.size), torch.arange(batch) % case.classes
        optimizer.zero_grad(set_to_none=True)
        step(images, labels)
        optimizer.step()

    return whole_step


def _method_step(model: nn.Module, case: Case) -> Callable[[Tensor, Tensor], None]:
    method = create_method(case.method, case.timesteps)

    def step(images: Tensor, labels: Tensor) -> None:
        method.step(model, images, labels)

    return step


def main(words: list[str]) -> None:
    """Take a step for every line on stdin."""
    case = Case(**json.loads(words[0]))
    # Compilers and the libraries' own tables belong to the base: a small step makes them.
    prepare(case)(2)
    step = prepare(case)
    base = _reset_peak()
    _say({"ready": case.name, "base": base})
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        step(case.batch)
        seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}
        _say(seconds | {"peak": _peak() - base})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _reset_peak() -> int:
    """Give back what is free and forget the peak so far, where the system can (Linux); the resident set, in bytes."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    """The largest resident set of this process; not `getrusage`, which may count that of the parent."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
