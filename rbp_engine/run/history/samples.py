"""What the probes of a run have sampled over training, as arrays, built from its events as they arrive."""

import math
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rbp_engine.run.files.events import Event, Probe, RunStart, done_again

Floats = NDArray[np.float64]

#: Samples that are kept. Where there are more, every second one goes, again and again, so that training is covered.
SAMPLES_KEPT = 1000
#: Metrics of the user's own that are kept, by name.
METRICS_KEPT = 500


@dataclass(frozen=True, eq=False)
class ProbeHistory:
    """The N sampled steps of a run, the oldest first, and its L neuron layers and W weight layers; NaN is not known."""

    neuron_layers: tuple[str, ...]
    weight_layers: tuple[str, ...]
    step: Floats
    epoch: Floats

    def at(self, step: float) -> int:
        """The number of the sample nearest to a step."""
        return int(np.abs(self.step - step).argmin())

    def newest(self, count: int) -> Self:
        """The last samples, at most so many."""
        return self._part(slice(-count, None))

    def _part(self, part: slice) -> Self:
        known = vars(self)
        cut: dict[str, Any] = {name: it[part] if isinstance(it, np.ndarray) else it for name, it in known.items()}
        return type(self)(**cut)


@dataclass(frozen=True, eq=False)
class FiringHistory(ProbeHistory):
    """`rates` is [N, L, T], `silent` and `saturated` are [N, L] shares of a layer's neurons, as in `FiringRates`."""

    rates: Floats
    silent: Floats
    saturated: Floats


@dataclass(frozen=True, eq=False)
class FidelityHistory(ProbeHistory):
    """The fields of `GradientFidelity`: [N] of all weights, [N, W] of each, and [N, L] for `neuron_error`."""

    samples: Floats
    cosine: Floats
    norm_ratio: Floats
    cosine_by_weight: Floats
    norm_ratio_by_weight: Floats
    neuron_error: Floats
    weight_error: Floats


@dataclass(frozen=True, eq=False)
class HealthHistory(ProbeHistory):
    """The fields of `Health`: [N, L], [N, L, 5] for `eligibility`, and [N, W] of the weight layers.

    `decay` and `threshold` are NaN throughout where nothing is learnt.
    """

    in_window: Floats
    eligibility: Floats
    gradient_norm: Floats
    update_ratio: Floats
    decay: Floats
    threshold: Floats


@dataclass(frozen=True, eq=False)
class AccuracyHistory(ProbeHistory):
    """Of the evaluations after each epoch, of the last weights: top-1 [N, T] after the first t timesteps, t = 1 … T."""

    top1_by_step: Floats


@dataclass(frozen=True, eq=False)
class OwnHistory(ProbeHistory):
    """The user's own metrics, those of `Probe` events whose values are numbers: `values` is [N, M], by `names`."""

    names: tuple[str, ...]
    values: Floats


S = TypeVar("S", FiringHistory, FidelityHistory, HealthHistory, AccuracyHistory, OwnHistory)


class SampleBuilder(Generic[S]):
    """Collects the samples of one kind; `history()` is a snapshot. Damaged samples are left out."""

    def __init__(
        self,
        record: type[S],
        *,
        by_neuron_layer: tuple[str, ...] = (),
        by_weight_layer: tuple[str, ...] = (),
        whole: tuple[str, ...] = (),
        lists: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
    ) -> None:
        """`record` is made of the fields of the events of one kind: one value a layer, or of the `whole` network.

        Those that are `lists` have several values for each layer; `optional` ones of neuron layers may be empty.
        """
        self._record: type[S] = record
        self._fields = dict.fromkeys(by_neuron_layer, "neuron") | dict.fromkeys(by_weight_layer, "weight")
        self._fields |= dict.fromkeys(whole, "")
        self._lists = lists
        self._optional = optional
        self._layers: dict[str, tuple[str, ...]] = {"neuron": (), "weight": ()}
        self._steps_per_epoch = 0
        self._kept: list[tuple[int, int, Any, dict[str, Any]]] = []  # attempt, step, epoch of a validation, numbers
        self._stride = 1
        self._seen = 0
        self._made: S | None = None

    def add(self, event: Event) -> None:
        """Add the next event of the kind, or the start of an attempt, which drops what it repeats."""
        body = event.body
        if not isinstance(body, RunStart):
            self._sample(event)
        elif event.rank == 0:
            before = dict(self._layers)
            for layers, names in (("neuron", body.neuron_layers), ("weight", body.weight_layers)):
                if names is not None:  # a run of another program says none
                    self._layers[layers] = tuple(names)
            if self._layers != before:
                self._kept = [one for one in self._kept if self._fit(one[3])]
            # They are in the order of their steps: if the last one counts, all do.
            if self._kept and done_again(*self._kept[-1][:3], event, body):
                self._kept = [one for one in self._kept if not done_again(*one[:3], event, body)]
            self._steps_per_epoch = body.steps_per_epoch or self._steps_per_epoch
            self._made = None

    def _sample(self, event: Event) -> None:
        try:
            numbers = {name: np.array(getattr(event.body, name), dtype=float) for name in self._fields}
        except (ValueError, TypeError, OverflowError):
            return
        for name in self._optional:
            if not numbers[name].size:
                numbers[name] = np.full(len(self._layers["neuron"]), np.nan)
        if self._kept and any(array.shape != self._kept[-1][3][name].shape for name, array in numbers.items()):
            return
        if self._fit(numbers):
            self._keep(event, numbers)

    def _keep(self, event: Event, numbers: dict[str, Any]) -> None:
        """Keep a sample, or only each second, fourth, …, so that there are not too many."""
        self._seen += 1
        if self._seen % self._stride == 0:
            self._kept.append((event.attempt, event.step, getattr(event.body, "epoch", None), numbers))
            self._made = None
        if len(self._kept) > SAMPLES_KEPT:
            self._kept = self._kept[1::2]
            self._stride *= 2

    def _fit(self, numbers: dict[str, Floats]) -> bool:
        """Whether each field has a value for each layer."""
        return all(self._fits(layers, name in self._lists, numbers[name]) for name, layers in self._fields.items())

    def _fits(self, layers: str, lists: bool, array: Floats) -> bool:
        if array.ndim != bool(layers) + lists or not array.size:
            return False
        return not layers or len(array) == len(self._layers[layers])

    def history(self) -> S | None:
        """Everything so far; None without a sample."""
        if self._made is None and self._kept:
            step = np.array([float(step) for _, step, *_ in self._kept])
            known = np.array([epoch for *_, epoch, _ in self._kept], dtype=float)
            epoch = np.where(np.isnan(known) & (self._steps_per_epoch > 0), step / (self._steps_per_epoch or 1), known)
            self._made = self._record(self._layers["neuron"], self._layers["weight"], step, epoch, **self._arrays())
        return self._made if self._kept else None

    def _arrays(self) -> dict[str, Any]:
        return {name: np.stack([numbers[name] for *_, numbers in self._kept]) for name in self._fields}


class OwnBuilder(SampleBuilder[OwnHistory]):
    """Collects the numbers of `Probe` events: those of one step of an attempt are one sample."""

    def __init__(self) -> None:
        super().__init__(OwnHistory)
        self._names: dict[str, None] = {}
        self._open: tuple[tuple[int, int], dict[str, float]] = ((-1, -1), {})  # of the newest step

    def _sample(self, event: Event) -> None:
        assert isinstance(event.body, Probe)
        name, number = event.body.name, number_of(event.body.values)
        if number is None or (name not in self._names and len(self._names) == METRICS_KEPT):
            return
        self._names.setdefault(name)
        at = (event.attempt, event.step)
        if self._open[0] != at:
            self._open = (at, {})
            self._keep(event, self._open[1])
        self._open[1][name] = number
        self._made = None

    def _arrays(self) -> dict[str, Any]:
        rows = [[values.get(name, math.nan) for name in self._names] for *_, values in self._kept]
        return {"names": tuple(self._names), "values": np.array(rows)}


def number_of(value: Any) -> float | None:
    """The value of a metric, NaN if it was not finite; None for what is no number that a float can hold."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
