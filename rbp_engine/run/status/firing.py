"""The firing rates of a run by neuron layer and timestep over training, built from its events as they arrive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_engine.run.files.events import Event, FiringRates, RunStart, superseded

Floats = NDArray[np.float64]

#: Samples that are kept. Where there are more, every second one goes, again and again, so that training is covered.
SAMPLES_KEPT = 1000


@dataclass(frozen=True, eq=False)
class FiringHistory:
    """Samples of a run's N sampled steps, L neuron layers and T timesteps, the oldest first.

    `rates` is [N, L, T], `silent` and `saturated` are [N, L] shares of a layer's neurons, as in `FiringRates`.
    """

    layers: tuple[str, ...]
    step: Floats
    epoch: Floats
    rates: Floats
    silent: Floats
    saturated: Floats

    def at(self, step: float) -> int:
        """The number of the sample nearest to a step."""
        return int(np.abs(self.step - step).argmin())


class FiringBuilder:
    """Collects the samples of one run; `history()` is a snapshot. Damaged samples are left out."""

    def __init__(self) -> None:
        self._layers: tuple[str, ...] = ()
        self._steps_per_epoch = 0
        self._kept: list[tuple[Event, Floats]] = []
        self._stride = 1
        self._seen = 0
        self._made: FiringHistory | None = None

    def add(self, event: Event) -> None:
        """Add the next event; the start of an attempt drops what it repeats."""
        body = event.body
        if isinstance(body, FiringRates):
            self._sample(event, body)
        elif isinstance(body, RunStart) and event.rank == 0:
            self._kept = [(old, numbers) for old, numbers in self._kept if not superseded(old, event, body)]
            self._layers = tuple(body.neuron_layers or ())
            self._steps_per_epoch = body.steps_per_epoch or self._steps_per_epoch
            self._made = None

    def _sample(self, event: Event, body: FiringRates) -> None:
        self._seen += 1
        if self._seen % self._stride:
            return
        try:  # [L, T + 2]
            numbers = np.column_stack([np.array(body.rates, float), body.silent, body.saturated]).astype(float)
        except (ValueError, TypeError):
            return
        if len(numbers) != len(self._layers) or (self._kept and numbers.shape != self._kept[-1][1].shape):
            return
        self._kept.append((event, numbers))
        self._made = None
        if len(self._kept) > SAMPLES_KEPT:
            self._kept = self._kept[1::2]
            self._stride *= 2

    def history(self) -> FiringHistory | None:
        """Everything so far; None without a sample."""
        if self._made is None and self._kept:
            numbers = np.stack([sample for _, sample in self._kept])
            step = np.array([float(event.step) for event, _ in self._kept])
            epoch = step / self._steps_per_epoch if self._steps_per_epoch else np.full(len(step), np.nan)
            self._made = FiringHistory(
                self._layers, step, epoch, numbers[:, :, :-2], numbers[:, :, -2], numbers[:, :, -1]
            )
        return self._made if self._kept else None
