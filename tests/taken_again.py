"""What a CUDA graph does with a step, on a CPU: for tests of the rules by which steps are replayed."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rbp_engine.methods import StepOutput
from rbp_engine.train.graph.step_graph import Replay
from rbp_engine.train.step import OptimizerStep


class TakenAgain:
    """Records nothing: a replay takes the real step again, on inputs in the same memory.

    As in a graph, everything of the host is what it was when the step was recorded, random numbers of python and numpy
    and numbers in the attributes of modules; tensors are those of now, and the device's generator goes on.
    """

    warm_up = 3

    def __init__(self) -> None:
        self.replays = 0

    def rehearse(self, take: Callable[[], StepOutput]) -> tuple[StepOutput, str]:
        return take(), ""

    def record(self, step: OptimizerStep, images: Tensor, labels: Tensor, total: int) -> Replay:
        still_images, still_labels = images.clone(), labels.clone()
        then = Host.now(step.trained)

        def replay(images: Tensor, labels: Tensor) -> StepOutput:
            self.replays += 1
            still_images.copy_(images)
            still_labels.copy_(labels)
            with then.again():
                out = step(still_images, still_labels, total)
            return StepOutput(out.loss.clone(), out.logits.clone())

        return replay


class Host:
    """What the host has that is no tensor."""

    def __init__(self, python: Any, arrays: Any, numbers: list[tuple[nn.Module, dict[str, Any]]]) -> None:
        self.python = python
        self.arrays = arrays
        self.numbers = numbers

    @classmethod
    def now(cls, model: nn.Module) -> "Host":
        numbers = [
            (module, {name: value for name, value in vars(module).items() if isinstance(value, (int, float))})
            for module in model.modules()
        ]
        return cls(random.getstate(), np.random.get_state(), numbers)

    def put_back(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.arrays)
        for module, numbers in self.numbers:
            vars(module).update(numbers)

    @contextmanager
    def again(self) -> Iterator[None]:
        now = Host.now(self.numbers[0][0])
        self.put_back()
        try:
            yield
        finally:
            now.put_back()


def generators() -> list[Any]:
    """The states of all generators of the host, to compare."""
    name, words, *rest = np.random.get_state()
    return [random.getstate(), name, list(words), rest, torch.get_rng_state().tolist()]
