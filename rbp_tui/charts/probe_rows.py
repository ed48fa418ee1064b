"""What the probes of a run have measured of each layer at one of their samples, as tables."""

import numpy as np

from rbp_engine.run.files.events import ELIGIBILITY_QUANTILES
from rbp_engine.run.history.samples import FidelityHistory, FiringHistory, HealthHistory
from rbp_tui.charts.heatmap import round_top
from rbp_tui.charts.layer_rows import LayerRows, heat, layer_names, numbers, sparks, words
from rbp_tui.text import format as fmt

LOWEST, _, MEDIAN, _, HIGHEST = range(len(ELIGIBILITY_QUANTILES))
#: From these shares of a layer's neurons on, a number is marked.
MANY_SILENT, MANY_SATURATED = 0.5, 0.1
#: From this error on, a number is marked: half of a gradient is not what the rate methods take it for.
LARGE_ERROR = 0.5


def rate_rows(firing: FiringHistory, number: int, colours: tuple[str, ...] = (), each: int | None = None) -> LayerRows:
    """The layers at one sample, with heat in these colours; `each` timestep has so many cells, by default what fits."""
    rates = firing.rates[number]
    means = firing.rates.mean(axis=2)
    highest = float(np.nanmax(firing.rates)) if np.isfinite(firing.rates).any() else 0.0
    top = round_top(highest)
    return LayerRows(
        "firing rate % by timestep",
        [
            layer_names(firing.neuron_layers),
            heat(rates, top, colours, each),
            numbers("mean %", means[number], factor=100),
            numbers("silent %", firing.silent[number], factor=100, attention=MANY_SILENT),
            numbers("saturated %", firing.saturated[number], factor=100, attention=MANY_SATURATED),
            sparks("rate trend", means, low=0.0),
        ],
        note=f"strongest colour at {100 * top:g} %",
    )


def neuron_rows(health: HealthHistory, number: int) -> LayerRows:
    """The neuron layers at one sample."""
    eligibility = health.eligibility[number]
    learnt = [
        numbers(name, values[number], digits=3)
        for name, values in (("λ", health.decay), ("V_th", health.threshold))
        if np.isfinite(values[number]).any()
    ]
    ranges = [f"{low:.3f} … {high:.3f}" for low, high in eligibility[:, [LOWEST, HIGHEST]]]
    return LayerRows(
        "neurons",
        [
            layer_names(health.neuron_layers),
            numbers("in window %", health.in_window[number], factor=100),
            numbers("g median", eligibility[:, MEDIAN], digits=3),
            *learnt,
            words("g 5–95 %", ranges),
            sparks("window trend", health.in_window, low=0.0),
        ],
    )


def weight_rows(health: HealthHistory, number: int) -> LayerRows:
    """The layers of weights at one sample."""
    return LayerRows(
        "weights",
        [
            layer_names(health.weight_layers),
            numbers("update/weight", health.update_ratio[number], digits=None),
            numbers("gradient", health.gradient_norm[number], digits=None),
            sparks("update trend", health.update_ratio),
        ],
    )


def fidelity_rows(fidelity: FidelityHistory, number: int, method: str) -> LayerRows:
    """The whole network, its weight layers and its neuron layers at one sample."""
    weights, neurons = len(fidelity.weight_layers), len(fidelity.neuron_layers)
    unknown = np.full(neurons, np.nan)
    cosine = np.concatenate([[fidelity.cosine[number]], fidelity.cosine_by_weight[number], unknown])
    ratio = np.concatenate([[fidelity.norm_ratio[number]], fidelity.norm_ratio_by_weight[number], unknown])
    of_all = np.full((len(fidelity.step), 1), np.nan)
    errors = np.concatenate([of_all, fidelity.weight_error, fidelity.neuron_error], axis=1)
    kinds = ["", *["weights"] * weights, *["neurons"] * neurons]
    images = fmt.counted(int(np.nan_to_num(fidelity.samples[number])), "image")
    return LayerRows(
        f"{fmt.method(method)}'s gradient against BPTT's",
        [
            layer_names(["all weights", *fidelity.weight_layers, *fidelity.neuron_layers]),
            words("", kinds),
            numbers("cosine", cosine, digits=3),
            numbers("norm ratio", ratio, digits=3),
            numbers("error", errors[number], digits=3, attention=LARGE_ERROR),
            sparks("error trend", errors, low=0.0, together=True),
        ],
        note=f"{images}; it is BPTT itself" if method.startswith("bptt") else images,
    )
