"""Settings that are each valid but contradict each other."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rbp_engine.data.catalog import CATALOG, catalogued, is_catalogued
from rbp_engine.data.data_set import FOR_IMAGES
from rbp_engine.settings.documents import KeyPath
from rbp_engine.settings.spelling import describe_value, did_you_mean, is_count
from rbp_engine.user_code import is_own
from rbp_engine.vocabulary import (
    DATA_KEYWORDS,
    LIBRARY_NETWORK,
    NETWORK_ARGUMENTS,
    NEURON_KEYWORDS,
    RATE_METHODS,
    SURROGATE_ARGUMENTS,
    WEIGHT_KEYWORDS,
)

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

# Each setting of some schedules, with these.
SCHEDULE_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "lr_min": ("cosine", "restarts"),
    "milestones": ("multistep",),
    "gamma": ("multistep",),
    "restart_epochs": ("restarts",),
    "restart_mult": ("restarts",),
}
# Those of the built-in neuron.
LIF_SETTINGS = ("decay", "threshold", "reset", "v_reset", "detach_reset", "learn", "learn_by")
DISTILLING = ("distill_weight", "distill_temperature")
BRANCHING = ("branches_weight", "branches_distill", "branches_temperature")
OF_SOME_SETS = (*FOR_IMAGES, "roll", "frames_by", "split", "resize", "orientation", "size")
STEPWISE_METHODS = ("bptt_s", "sltt", "ottt")
#: What contradicts the others, and why.
Found = Iterator[tuple[KeyPath, str]]
# The sets that a setting of `[data]` is for, in words; those of the other settings are named.
_FOR: Mapping[str, str] = dict.fromkeys(FOR_IMAGES, "images in memory") | {
    "cutout": "images in memory and event data",
    "roll": "event data",
    "frames_by": "recordings of events",
}


def contradictions(preset: "Preset") -> list[tuple[KeyPath, str]]:
    """Find the contradictions in a preset whose values are each valid."""
    plain = ((tuple(key.split(".")), message) for key, wrong, message in _rules(preset) if wrong)
    return [
        *_arguments_of_none(preset),
        *_wrong_arguments(preset),
        *_without_effect(preset),
        *plain,
    ]


def _unknown(taker: str, key: str, taken: Mapping[str, Any] | tuple[str, ...]) -> str:
    return f"{taker} takes no '{key}', it takes: {', '.join(taken)}.{did_you_mean(key, list(taken))}"


def _arguments_of_none(preset: "Preset") -> Found:
    """Arguments of what takes none."""
    model, data = preset.model.name, preset.data
    network = LIBRARY_NETWORK.fullmatch(model) is not None or model in NETWORK_ARGUMENTS
    known = {"model": network, "neuron": False, "data": "args" in _taken(data.name, None)}
    for section, takes in known.items():
        table = getattr(preset, section)
        if table.args and not (takes or is_own(table.name)):
            who = "a network of your own or a library's" if section == "model" else "code of your own"
            size = ": for one of another size, write your own (docs/own-network.md)" if section == "model" else ""
            yield (section, "args"), f"only {who} takes arguments, and {section}.name is '{table.name}'{size}"


def _wrong_arguments(preset: "Preset") -> Found:
    """Arguments that what is known does not take, or takes in another range."""
    model, neuron, data = preset.model, preset.neuron, preset.data
    known = SURROGATE_ARGUMENTS.get(neuron.surrogate)
    for key in neuron.surrogate_args:
        if known is not None and key not in known:
            yield ("neuron", "surrogate_args", key), _unknown(f"the surrogate '{neuron.surrogate}'", key, known)
    taken, refused = NETWORK_ARGUMENTS.get(model.name, {}), _refused_by_libraries(model.name)
    for key, value in model.args.items():
        if key in refused:
            yield ("model", "args", key), refused[key]
        elif taken and key not in taken:
            yield ("model", "args", key), _unknown(f"the network '{model.name}'", key, taken)
        elif taken and not is_count(value, taken[key]):
            message = f"expected a whole number from 1 to {taken[key]}, got {describe_value(value)}"
            yield ("model", "args", key), message
    if is_catalogued(data.name):
        problems = catalogued(data.name).wrong_arguments(data.args)
        yield from ((("data", "args", key), problem) for key, problem in problems)


def _refused_by_libraries(network: str) -> dict[str, str]:
    """Keywords that would make a library download or unpickle weights, and those that the data or [neuron] decide."""
    match = LIBRARY_NETWORK.fullmatch(network)
    if match is None:
        return {}
    weights = "weights of libraries are never downloaded here. Give a file as model.pretrained, or --pretrained FILE"
    of_data = "the numbers of classes and channels are those of the data. Leave it out"
    neurons = "the neurons of this network are those of [neuron]. Set it there"
    refused = dict.fromkeys(WEIGHT_KEYWORDS, weights) | dict.fromkeys(DATA_KEYWORDS, of_data)
    return refused | (dict.fromkeys(NEURON_KEYWORDS, neurons) if match["library"] == "spikingjelly" else {})


def _taken(name: str, size: object) -> Collection[str]:
    """The settings of `[data]`, beyond those of every set, that have an effect on a set, a user's own included."""
    return catalogued(name).taken(size) if is_catalogued(name) else FOR_IMAGES


def _reason(key: str, taken: Collection[str]) -> str:
    """Why a setting has no effect on a set that takes others."""
    if key == "auto_augment" and "crop_padding" in taken:
        return "needs images of 3 channels"
    if key in _FOR:
        return f"is for {_FOR[key]}"
    names = [one.name for one in CATALOG.values() if key in one.takes] + ["folder:name"] * (key == "size")
    return f"is for {' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"


def _without_effect(preset: "Preset") -> Found:
    """Settings that nothing would read, and that are not at their defaults."""
    neuron, loss, schedule, data = preset.neuron.name, preset.loss, preset.optim.schedule, preset.data
    labels = f"is for the losses ce, mse and tet, and loss.name is '{loss.name}', which gets plain labels"
    cases: list[tuple[bool, str, tuple[str, ...], str]] = [
        (is_own(neuron), "neuron", LIF_SETTINGS, f"is for the neuron 'lif', and neuron.name is '{neuron}'"),
        (not loss.distill, "loss", DISTILLING, "is for a teacher, and loss.distill names none"),
        (not loss.branches, "loss", BRANCHING, "is for branches, and loss.branches names no module"),
        (loss.name != "tet", "loss", ("mse_weight",), f"is for the loss 'tet', and loss.name is '{loss.name}'"),
        (is_own(loss.name), "loss", ("label_smoothing",), labels),
    ]
    for key, users in SCHEDULE_SETTINGS.items():
        why = f"is for the schedule {' or '.join(users)}, and optim.schedule is '{schedule}'"
        cases.append((schedule not in users, "optim", (key,), why))
    taken = _taken(data.name, data.size)
    cases += [
        (key not in taken, "data", (key,), f"{_reason(key, taken)}, and data.name is '{data.name}'")
        for key in OF_SOME_SETS
    ]
    for applies, section, keys, why in cases:
        written = getattr(preset, section)
        for key in keys if applies else ():
            value = type(written).model_fields[key].default
            if getattr(written, key) != value:
                yield (section, key), f"{why}. Use {json.dumps(value)}{', or neuron.args' * (section == 'neuron')}"


def _rules(preset: "Preset") -> list[tuple[str, bool, str]]:
    """Settings that do not go together: the key of one, whether they are so, and what is wrong with it then."""
    neuron, loss, optim, method = preset.neuron, preset.loss, preset.optim, preset.method
    only = CATALOG[preset.data.name].timesteps if preset.data.name in CATALOG else 0
    steps, epochs, size = _steps(preset), preset.train.epochs, _train_size(preset)
    branches = "branches learn from means over time, and"
    return [
        (
            "method.timesteps",
            only not in (0, method.timesteps),
            f"{preset.data.name} has samples of {only} timesteps, so T is {only}, got {method.timesteps}",
        ),
        (
            "neuron.v_reset",
            neuron.reset == "soft" and neuron.v_reset != 0,
            f"a soft reset subtracts the threshold and uses no v_reset, got {neuron.v_reset}. "
            'Use 0.0, or reset = "hard"',
        ),
        (
            "neuron.decay",
            "decay" in neuron.learn and neuron.decay in (0, 1),
            f"a decay that is learnt stays between 0 and 1, and must start there, got {neuron.decay}",
        ),
        (
            "neuron.learn_by",
            not neuron.learn and neuron.learn_by == "channel",
            "is for neuron.learn, which is empty. Name decay or threshold there",
        ),
        (
            "loss.name",
            loss.name == "tet" and method.name in RATE_METHODS,
            f"'tet' is a loss of every timestep, and the backward pass of {method.name} has only the mean output. Use "
            "'ce' or 'mse', or method.name bptt, bptt_s, sltt or ottt",
        ),
        (
            "loss.branches",
            bool(loss.branches) and loss.name == "tet",
            f"{branches} loss.name is 'tet', a loss of every timestep. Use 'ce' or 'mse'",
        ),
        (
            "loss.branches",
            bool(loss.branches) and method.name in STEPWISE_METHODS,
            f"{branches} with {method.name} a pass of the network is one timestep. "
            "Use method.name rate_m, rate_s or bptt",
        ),
        (
            "optim.milestones",
            optim.schedule == "multistep" and not optim.milestones,
            "multistep needs the epochs at which the rate falls, as [60, 120]",
        ),
        (
            "optim.restart_epochs",
            optim.schedule == "restarts" and not optim.restart_epochs,
            "restarts needs the length of the first cosine in epochs, as 10",
        ),
        (
            "data.batch_size",
            0 < size < preset.data.batch_size,
            f"must be at most the {size} samples to train on, got {preset.data.batch_size}",
        ),
        ("optim.lr_min", optim.lr_min > optim.lr, f"must be at most optim.lr ({optim.lr}), got {optim.lr_min}"),
        (
            "optim.warmup_steps",
            optim.warmup_steps > 0 and optim.schedule_by == "epoch",
            'needs optim.schedule_by = "step": by epoch the rate stays the same within an epoch',
        ),
        (
            "optim.warmup_steps",
            optim.warmup_steps > 0 and optim.warmup_epochs > 0,
            "is another warm-up than optim.warmup_epochs. Use one of them",
        ),
        (
            "optim.warmup_epochs",
            0 < optim.warmup_epochs >= epochs,
            f"must be fewer than train.epochs ({epochs}), got {optim.warmup_epochs}. Use 0 for no warm-up",
        ),
        (
            "optim.warmup_steps",
            optim.schedule_by == "step" and 0 < steps <= optim.warmup_steps,
            too_long(optim.warmup_steps, steps),
        ),
    ]


def _train_size(preset: "Preset") -> int:
    """The samples that a run trains on; 0 of data of another size, which the worker knows."""
    known = CATALOG.get(preset.data.name)
    if known is None or known.any_size:
        return 0
    return known.train_size - math.ceil(preset.train.validation_split * known.train_size)


def _steps(preset: "Preset") -> int:
    """The optimizer steps of a run; 0 on data of unknown size."""
    batches = _train_size(preset) / preset.data.batch_size
    return preset.train.epochs * (math.floor(batches) if preset.data.drop_last else math.ceil(batches))


def too_long(warmup_steps: float, steps: float) -> str:
    """What is wrong with a warm-up that outlasts a run of so many optimizer steps."""
    return f"must be fewer than the run's steps ({steps}), got {warmup_steps}. Use 0 for no warm-up"
