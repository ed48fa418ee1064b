"""What probes have measured of each layer, near one moment of training, as tables and as JSON."""

import math
from typing import Any

from rbp_engine.run.history.history import History
from rbp_engine.run.history.samples import Floats, ProbeHistory
from rbp_tui.charts.layer_rows import LayerRows
from rbp_tui.charts.probe_rows import MEDIAN, fidelity_rows, neuron_rows, rate_rows, weight_rows

#: Cells of a rate in a table: its number, and a block.
RATE = 6


def layer_tables(history: History, epoch: float | None, method: str) -> list[tuple[str, LayerRows]]:
    """All that was sampled nearest to an epoch, None for the newest, each with where that is; `method` is the run's."""
    found: list[tuple[str, LayerRows]] = []

    def add(samples: ProbeHistory, *tables: LayerRows) -> None:
        at = nearest(samples, epoch)
        where = f"at step {samples.step[at]:.0f}, epoch {samples.epoch[at]:.2f}"
        found.extend((where, rows) for rows in tables)

    if (firing := history.firing) is not None:
        add(firing, rate_rows(firing, nearest(firing, epoch), each=RATE))
    if (health := history.health) is not None:
        at = nearest(health, epoch)
        add(health, neuron_rows(health, at), weight_rows(health, at))
    if (fidelity := history.fidelity) is not None:
        add(fidelity, fidelity_rows(fidelity, nearest(fidelity, epoch), method))
    return found


def layers_plain(history: History, epoch: float | None) -> dict[str, Any]:
    """The same as JSON: null is not known, rates and shares are fractions."""
    found = {}
    if (firing := history.firing) is not None:
        figures = {"rate": firing.rates.mean(axis=2), "rates": firing.rates}
        figures |= {"silent": firing.silent, "saturated": firing.saturated}
        found["firing_rates"] = _plain(firing, epoch, firing.neuron_layers, figures)
    if (health := history.health) is not None:
        figures = {"in_window": health.in_window, "eligibility_median": health.eligibility[:, :, MEDIAN]}
        if not all(map(math.isnan, health.decay[nearest(health, epoch)])):
            figures |= {"decay": health.decay, "threshold": health.threshold}
        found["membranes"] = _plain(health, epoch, health.neuron_layers, figures)
        figures = {"gradient_norm": health.gradient_norm, "update_ratio": health.update_ratio}
        found["updates"] = _plain(health, epoch, health.weight_layers, figures)
    if (fidelity := history.fidelity) is not None:
        figures = {"cosine": fidelity.cosine_by_weight, "norm_ratio": fidelity.norm_ratio_by_weight}
        figures |= {"error": fidelity.weight_error}
        found["gradients"] = _plain(fidelity, epoch, fidelity.weight_layers, figures)
        found["slopes"] = _plain(fidelity, epoch, fidelity.neuron_layers, {"error": fidelity.neuron_error})
    return found


def nearest(samples: ProbeHistory, epoch: float | None) -> int:
    """The number of the sample nearest to an epoch, or of the newest."""
    if epoch is None or not all(map(math.isfinite, samples.epoch)):
        return -1
    return int(abs(samples.epoch - epoch).argmin())


def _plain(
    samples: ProbeHistory, epoch: float | None, layers: tuple[str, ...], figures: dict[str, Floats]
) -> dict[str, Any]:
    at = nearest(samples, epoch)
    return {
        "step": int(samples.step[at]),
        "epoch": _known(samples.epoch[at].tolist()),
        "layers": [
            {"layer": layer} | {name: _known(values[at, row].tolist()) for name, values in figures.items()}
            for row, layer in enumerate(layers)
        ],
    }


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return [_known(one) for one in value]
    return value if math.isfinite(value) else None
