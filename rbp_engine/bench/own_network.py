"""Whether a user's network can be trained, how well its gradients agree with BPTT's, and what each method costs.

Without torch: the network runs in separate processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbp_engine.bench.cost import parts_of_batch
from rbp_engine.bench.measure.measurement import ask, temporary_run
from rbp_engine.bench.results.extrapolate import plane_of
from rbp_engine.child import Progress, no_progress
from rbp_engine.codec import convert_verbatim
from rbp_engine.preset import LoadedPreset, PresetError, load_text
from rbp_engine.report import names

INSPECTION, POINTS = "rbp_engine.bench.inspection", "rbp_engine.bench.measure_cost"
REFERENCE = "bptt"
METHODS = (REFERENCE, "rate_m", "rate_s")


@dataclass(frozen=True)
class MissingRule:
    """An operation of the network that has no rule, or is used in a way that its rule does not allow.

    `line` is where in its code, such as "nets.py line 12", and `why` what is wrong with its use, or what to do about
    it; "" if not known.
    """

    module: str
    operation: str
    line: str
    why: str


@dataclass(frozen=True)
class Agreement:
    """Cosine of a layer's gradient with BPTT's, by method; None if one of them is 0."""

    layer: str
    rate_m: float | None
    rate_s: float | None


@dataclass(frozen=True)
class MethodCost:
    """The cost of a step at the preset's batch and T: seconds, peak memory beyond the network's, and both against BPTT.

    `largest_batch` at this T and `largest_timesteps` at this batch are the largest that fit: 0 for none, None for any.
    """

    method: str
    seconds: float
    memory: int
    time_ratio: float
    memory_ratio: float
    largest_batch: int | None
    largest_timesteps: int | None


@dataclass(frozen=True)
class Inspection:
    """The results of running the network; `layers` and `overall` are present only if no rule is missing.

    `neurons` are the kinds of neurons of the user's own, which have been checked.
    `metrics` is what the user's own function has logged, by name, if the preset has one. `notes` are texts about the
    network: what was replaced in a library's, which weights it starts from.
    """

    parameters: int
    neuron_layers: int
    neurons: tuple[str, ...]
    missing: tuple[MissingRule, ...]
    layers: tuple[Agreement, ...]
    overall: Agreement | None
    metrics: dict[str, float]
    notes: tuple[str, ...] = ()


def preset_for(
    network: str,
    image: Sequence[int],
    *,
    classes: int,
    batch: int,
    frames: bool = False,
    overrides: Sequence[str] = (),
) -> LoadedPreset:
    """A preset of a network on random images [C, H, W] (`frames`: new ones at every timestep). Raises PresetError."""
    import tomlkit

    sizes = f"shape = {list(image)}, classes = {classes}" + (", frames = true" if frames else "")
    data = f'[data]\nname = "fake"\nargs = {{ {sizes} }}\nbatch_size = {batch}\n'
    text = f"{data}[model]\nname = {tomlkit.item(network).as_string()}\n"
    try:
        return load_text(text, Path("try.toml").absolute(), overrides)
    except PresetError as error:
        # The preset is not a file of the user's, so line numbers mean nothing.
        raise PresetError(f"rbp try {network}", [replace(one, line=None) for one in error.problems]) from None


def inspect(loaded: LoadedPreset, on_progress: Progress = no_progress) -> Inspection:
    """Run the network once, and once with each method. Raises ChildError, which says what is wrong with it."""
    with temporary_run(loaded) as run:
        return convert_verbatim(Inspection, ask(INSPECTION, run, on_progress=on_progress))


def costs(network: Callable[[str], LoadedPreset], on_progress: Progress = no_progress) -> list[MethodCost]:
    """Time and memory of each method; `network` gives the preset with a method. Raises ChildError."""
    found: list[MethodCost] = []
    for number, method in enumerate(METHODS):
        on_progress(f"steps with {names.method(method)}", number / len(METHODS))
        loaded = network(method)
        with temporary_run(loaded) as run:
            answer = ask(POINTS, run)
        found.append(_cost(method, loaded, answer, found[0] if found else None))
    return found


def _cost(method: str, loaded: LoadedPreset, answer: dict[str, Any], bptt: MethodCost | None) -> MethodCost:
    timesteps, (parts, part) = loaded.preset.method.timesteps, parts_of_batch(loaded.preset)
    plane, limit = plane_of(answer["points"], "peak"), answer["limit"]
    seconds = parts * plane_of(answer["points"], "seconds").at(part, timesteps)
    memory = max(1.0, plane.at(part, timesteps) - answer["base"])
    largest_part = plane.largest_batch(timesteps, limit)
    return MethodCost(
        method,
        seconds,
        int(memory),
        1.0 if bptt is None else seconds / bptt.seconds,
        1.0 if bptt is None else memory / bptt.memory,
        largest_part and largest_part * parts,
        plane.largest_timesteps(part, limit),
    )
