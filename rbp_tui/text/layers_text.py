"""What probes have measured of each layer at one moment of training, as tables and as JSON."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Column, Table

from rbp_engine.printable import one_line
from rbp_engine.run.status.history import History
from rbp_engine.run.status.samples import Floats, ProbeHistory
from rbp_tui.text import format as fmt
from rbp_tui.text.table import empty_table

MEDIAN = 2  # of the quantiles of eligibilities


@dataclass(frozen=True)
class LayerFigures:
    """Numbers of each layer [L, K]: their name in JSON, a heading for each of the K, and the text of a known number."""

    name: str
    headings: tuple[str, ...]
    values: Floats
    text: Callable[[float], str]


@dataclass(frozen=True)
class LayerSamples:
    """What one probe has measured of the layers of one kind; `name` is that in JSON. The epoch may be NaN."""

    name: str
    title: str
    step: int
    epoch: float
    layers: tuple[str, ...]
    figures: tuple[LayerFigures, ...]


def layer_samples(history: History, epoch: float | None) -> list[LayerSamples]:
    """All that was sampled nearest to an epoch, None for the newest."""
    found = []
    if (firing := history.firing) is not None:
        at = _nearest(firing, epoch)
        rates = firing.rates[at]
        figures = [
            _one("rate", "rate %", rates.mean(axis=1), _percent),
            LayerFigures("rates", tuple(f"t={t}" for t in range(1, rates.shape[1] + 1)), rates, _percent),
            _one("silent", "silent %", firing.silent[at], _percent),
            _one("saturated", "saturated %", firing.saturated[at], _percent),
        ]
        found.append(_samples("firing_rates", "firing rates", firing, at, firing.neuron_layers, figures))
    if (health := history.health) is not None:
        at = _nearest(health, epoch)
        figures = [
            _one("in_window", "membranes in window %", health.in_window[at], _percent),
            _one("eligibility_median", "eligibility g, median", health.eligibility[at, :, MEDIAN], fmt.number),
        ]
        if not all(map(math.isnan, health.decay[at])):
            figures += [_one("decay", "λ", health.decay[at], fmt.number)]
            figures += [_one("threshold", "V_th", health.threshold[at], fmt.number)]
        found.append(_samples("membranes", "membranes and eligibilities", health, at, health.neuron_layers, figures))
        figures = [
            _one("gradient_norm", "gradient norm", health.gradient_norm[at], _exponent),
            _one("update_ratio", "update / weight", health.update_ratio[at], _exponent),
        ]
        found.append(_samples("updates", "gradients and updates", health, at, health.weight_layers, figures))
    if (fidelity := history.fidelity) is not None:
        at = _nearest(fidelity, epoch)
        figures = [
            _one("cosine", "cosine", fidelity.cosine_by_weight[at], fmt.number),
            _one("norm_ratio", "norm ratio", fidelity.norm_ratio_by_weight[at], fmt.number),
            _one("error", "error", fidelity.weight_error[at], fmt.number),
        ]
        found.append(_samples("gradients", "gradients against BPTT's", fidelity, at, fidelity.weight_layers, figures))
        figures = [_one("error", "error", fidelity.neuron_error[at], fmt.number)]
        title = "spikes and gradients that vary together"
        found.append(_samples("slopes", title, fidelity, at, fidelity.neuron_layers, figures))
    return found


def layers_table(samples: LayerSamples) -> Table:
    """A row for each layer."""
    headings = [Column(heading, justify="right") for one in samples.figures for heading in one.headings]
    table = empty_table(["layer", *headings])
    for row, layer in enumerate(samples.layers):
        values = [(value, one.text) for one in samples.figures for value in one.values[row]]
        table.add_row(one_line(layer), *(text(float(value)) if math.isfinite(value) else "–" for value, text in values))
    return table


def layers_plain(samples: Sequence[LayerSamples]) -> dict[str, Any]:
    """The same as JSON: null is not known, rates and shares are fractions."""
    return {
        one.name: {
            "step": one.step,
            "epoch": _known(one.epoch),
            "layers": [
                {"layer": layer} | {figures.name: _values(figures, row) for figures in one.figures}
                for row, layer in enumerate(one.layers)
            ],
        }
        for one in samples
    }


def _values(figures: LayerFigures, row: int) -> float | list[float | None] | None:
    values = [_known(value) for value in figures.values[row]]
    return values if figures.name == "rates" else values[0]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _one(name: str, heading: str, values: Floats, text: Callable[[float], str]) -> LayerFigures:
    return LayerFigures(name, (heading,), values[:, None], text)


def _samples(
    name: str, title: str, samples: ProbeHistory, at: int, layers: tuple[str, ...], figures: list[LayerFigures]
) -> LayerSamples:
    return LayerSamples(name, title, int(samples.step[at]), float(samples.epoch[at]), layers, tuple(figures))


def _nearest(samples: ProbeHistory, epoch: float | None) -> int:
    """The number of the sample nearest to an epoch, or of the newest."""
    if epoch is None or not all(map(math.isfinite, samples.epoch)):
        return -1
    return int(abs(samples.epoch - epoch).argmin())


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _exponent(value: float) -> str:
    return f"{value:.2e}"
