"""When training steps are replayed, and when they are not: the rules, without a word of CUDA."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from rbp_engine.methods import StepOutput
from rbp_engine.probes.random_numbers import random_numbers_put_back
from rbp_engine.train.graph.outcome import Outcome, State, difference
from rbp_engine.train.optimisation import make_capturable
from rbp_engine.train.step import OptimizerStep

# So many of the first replays are compared with the step that they stand for. Later those whose number is a power of
# two are: what changes slowly on the host, as a weight in a loss that grows from step to step, shows only then.
COMPARED = 3

#: Takes the recorded step with other images and labels of the same shapes.
Replay = Callable[[Tensor, Tensor], StepOutput]


class Graphs(Protocol):
    """A way to record a step."""

    #: Steps of one shape before the recording, in which everything is made that later steps reuse.
    warm_up: int

    def rehearse(self, take: Callable[[], StepOutput]) -> tuple[StepOutput, str]:
        """Take the last step before the recording; returns what it returned, and why it cannot be recorded."""
        ...

    def record(self, step: OptimizerStep, images: Tensor, labels: Tensor, total: int) -> Replay:
        """Record a step on inputs of these shapes. It takes no step: only what the host keeps may have changed."""
        ...


class StepGraph:
    """Takes optimizer steps by replaying a recorded one, as long as that changes nothing.

    The first steps, those of any other shape (as the last, smaller batch of an epoch), and those that the caller gives
    to `step` itself run as without it. The shape that comes first is recorded. Its first replays are compared with the
    step that they stand for: from the same state and the same random numbers, loss, gradients and the state afterwards
    must be the same. The replay that is compared is then undone, and the step that counts is the ordinary one: whatever
    the result, state and generators are those of the steps that were counted.

    Any difference, and any error while recording, ends the replaying for good, after one warning to `warn`. All ranks
    decide alike. Replays draw from the device's generator as the step does; what else the host draws or counts in a
    step stays as it was recorded, which is a difference. The optimizer's rates become numbers on the device, and they
    stay so without replays.
    """

    def __init__(
        self,
        step: OptimizerStep,
        graphs: Graphs,
        *,
        warn: Callable[[str], None],
        told: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Load a checkpoint before this. `told` gets a sentence once steps are replayed."""
        self.step = step
        self.graphs = graphs
        self._warn = warn
        self._told = told
        self._seen: Counter[object] = Counter()  # steps by shape
        self._shape: object = None
        self._replay: Replay | None = None
        self._replays = 0
        self._given_up = False
        make_capturable(step.optimizer)

    @property
    def replaying(self) -> bool:
        """Whether steps of the recorded shape are replayed now."""
        return self._replay is not None

    def __call__(self, images: Tensor, labels: Tensor, total: int) -> StepOutput:
        """As of `OptimizerStep`."""
        shape = (images.shape, images.dtype, labels.shape, labels.dtype, total)
        if self._given_up or (self._replay is not None and shape != self._shape):
            return self.step(images, labels, total)
        if self._replay is None:
            self._seen[shape] += 1
            if self._seen[shape] < self.graphs.warm_up:
                return self.step(images, labels, total)
            if self._seen[shape] == self.graphs.warm_up:
                return self._rehearsed(images, labels, total)
            self._record(images, labels, total)
            self._shape = shape
        if self._replay is None:
            return self.step(images, labels, total)
        number = self._replays + 1
        if number <= COMPARED or number & (number - 1) == 0:
            return self._compared(self._replay, images, labels, total)
        self._replays = number
        return self._replay(images, labels)

    def _rehearsed(self, images: Tensor, labels: Tensor, total: int) -> StepOutput:
        out, problem = self.graphs.rehearse(lambda: self.step(images, labels, total))
        self._give_up_if(problem)
        return out

    def _record(self, images: Tensor, labels: Tensor, total: int) -> None:
        replay, problem = None, ""
        buffers = _Buffers(self.step.trained)
        try:
            with random_numbers_put_back():
                replay = self.graphs.record(self.step, images, labels, total)
        except Exception as error:
            problem = f"recording one failed: {type(error).__name__}: {error}".splitlines()[0]
            self.step.forget()
        problem = buffers.put_back() or problem
        if not self._give_up_if(problem):
            self._replay = replay

    def _compared(self, replay: Replay, images: Tensor, labels: Tensor, total: int) -> StepOutput:
        """Take the step, after a replay of it that is undone."""
        before, buffers = State.copied(self.step), _Buffers(self.step.trained)
        with random_numbers_put_back():
            found = Outcome.copied(self.step, replay(images, labels))
        replaced = buffers.put_back()
        before.put_back(self.step)
        out = self.step(images, labels, total)
        expected = Outcome.copied(self.step, out)
        # A step without finite gradients, as fp16 skips some, shows nothing. The next one is compared in its place.
        if expected.is_finite():
            differs = difference(found, expected, before, self.step.method.precision)
            problem = replaced or (f"a replay was not the step that it stands for, {differs}" if differs else "")
            self._replays += 1
            if not self._give_up_if(problem) and self._replays == COMPARED:
                self._told("steps are replayed as a CUDA graph")
        return out

    def _give_up_if(self, problem: str) -> bool:
        """Whether replaying ends, because of a problem here or in another process."""
        [found] = self.step.ranks.largest(bool(problem))
        if found:
            self._replay, self._given_up = None, True
            why = problem or "another process cannot replay them, and says why in its log"
            self._warn(f'train.cuda_graph: steps are not replayed, and run as with "off": {why}')
        return bool(found)


class _Buffers:
    """The buffers of a network, to notice those that a step replaces instead of changing them.

    A graph reads and writes the tensors that there were when it was recorded.
    """

    def __init__(self, model: nn.Module) -> None:
        self._kept = [(path, module, dict(module._buffers)) for path, module in model.named_modules()]

    @torch.no_grad()
    def put_back(self) -> str:
        """Put those back that have been replaced; returns which one that is, "" if none."""
        replaced = ""
        for path, module, kept in self._kept:
            for name, buffer in kept.items():
                if module._buffers.get(name) is not buffer:
                    module._buffers[name] = buffer
                    replaced = replaced or f"{path}.{name}".removeprefix(".")
        return f"it replaces the buffer {replaced}, which it must change in place (copy_)" if replaced else ""
