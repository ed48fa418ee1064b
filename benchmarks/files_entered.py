"""Our files that a training step of conv, batch norm and LIF enters: what a reader of that step has to open.

    python benchmarks/files_entered.py [--method rate_m] [--kernel eager]

A file counts if a line of one of its functions runs in the second step; the first one makes what is made once.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

import rbp_engine
from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

ENGINE = Path(rbp_engine.__file__).parent


def files_entered(step: Callable[[], Any]) -> Counter[str]:
    """How many lines of each file of the engine run, those of its backward pass included."""
    lines: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        path = Path(frame.f_code.co_filename)
        if ENGINE not in path.parents:
            return None
        if event == "line":
            lines.add((str(path.relative_to(ENGINE)), frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(None)
    return Counter(path for path, _ in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", default="rate_m")
    parser.add_argument("--kernel", default="eager")
    chosen = parser.parse_args()
    block = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), LIF(kernel=chosen.kernel))
    model = nn.Sequential(block, nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), LIF(kernel=chosen.kernel), nn.Flatten())
    model.append(nn.Linear(64, 3))
    method = create_method(chosen.method, 4)
    images, labels = torch.rand(2, 2, 8, 8), torch.tensor([0, 1])

    def step() -> None:
        method.step(model, images, labels)

    step()
    found = files_entered(step)
    for path, count in sorted(found.items()):
        print(f"{count:4} lines  {path}")
    print(f"{len(found)} files")


if __name__ == "__main__":
    main()
