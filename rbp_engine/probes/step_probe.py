"""What every probe has: how often it samples, what it watches of a step, what it measures after one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rbp_engine.run.files.events import Body


class StepProbe:
    """A measurement of the network on every `every`-th optimizer step; on the others it does nothing.

    A probe changes nothing that training computes: weights, gradients, statistics and random numbers are the same bits.
    It does not wait for the device before `take`. With several processes only the first has probes, and they use no
    collective.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._sampled: list[tuple[int, Callable[[], Iterable[Body]]]] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Within it the network takes a step that is sampled."""
        yield

    def measure(self, step: int) -> None:
        """Called after step `step`, counted from 1, if it is sampled.

        Its time is not that of a step; only what it leaves the device to compute is waited for with later steps.
        """

    def keep(self, step: int, read: Callable[[], Iterable[Body]]) -> None:
        """Keep what was sampled at this step; `read` makes events of it, and may wait for the device."""
        self._sampled.append((step, read))

    def take(self) -> list[tuple[int, Body]]:
        """What was sampled since the last call, as events by step; waits for the device if there is anything."""
        sampled, self._sampled = self._sampled, []
        return [(step, body) for step, read in sampled for body in read()]


class Probes:
    """The probes of a run."""

    def __init__(self, probes: Sequence[StepProbe] = ()) -> None:
        self._probes = probes

    @contextmanager
    def watch(self, step: int) -> Iterator[None]:
        """Within it the network takes optimizer step `step`, counted from 1."""
        with ExitStack() as stack:
            for probe in self._due(step):
                stack.enter_context(probe.watch())
            yield

    def measure(self, step: int) -> bool:
        """Measure after step `step`; returns whether a probe did."""
        due = self._due(step)
        for probe in due:
            probe.measure(step)
        return bool(due)

    def take(self) -> list[tuple[int, Body]]:
        """What all of them sampled since the last call, as events by step."""
        return [sample for probe in self._probes for sample in probe.take()]

    def _due(self, step: int) -> list[StepProbe]:
        return [probe for probe in self._probes if step % probe.every == 0]
