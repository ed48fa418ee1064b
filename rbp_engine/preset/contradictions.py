"""Settings that are each valid but contradict each other."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeGuard, get_args

from rbp_engine.data.catalog import CATALOG, catalogued, is_catalogued
from rbp_engine.data.data_set import FOR_IMAGES
from rbp_engine.settings.lines import KeyPath
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.settings.values import describe_value, is_count
from rbp_engine.vocabulary import (
    DATA_KEYWORDS,
    LIBRARY_NETWORK,
    NETWORK_ARGUMENTS,
    NEURON_KEYWORDS,
    OWN_CODE,
    SURROGATE_ARGUMENTS,
    WEIGHT_KEYWORDS,
    ScheduleName,
)

# Each setting of some schedules: its value for the others, and these schedules.
SCHEDULE_SETTINGS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "lr_min": (0.0, ("cosine", "restarts")),
    "milestones": ([], ("multistep",)),
    "gamma": (0.1, ("multistep",)),
    "restart_epochs": (0, ("restarts",)),
    "restart_mult": (1, ("restarts",)),
}
# Those of the built-in neuron, at their defaults.
LIF_SETTINGS: Mapping[str, Any] = {
    "decay": 0.2,
    "threshold": 1.0,
    "reset": "soft",
    "v_reset": 0.0,
    "detach_reset": True,
    "learn": [],
    "learn_by": "layer",
}
RATE_METHODS = ("rate_m", "rate_s")
STEPWISE_METHODS = ("bptt_s", "sltt", "ottt")
#: What contradicts the others, and why.
Found = Iterator[tuple[KeyPath, str]]
# The sets that a setting of `[data]` is for, in words; those of the other settings are named.
_FOR: Mapping[str, str] = dict.fromkeys(FOR_IMAGES, "images in memory") | {
    "roll": "event data",
    "frames_by": "recordings of events",
}


def contradictions(sections: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Find the contradictions in settings given as plain tables, with every default filled in.

    Values may also be invalid: a check whose values have the wrong type is skipped, so that all problems of a preset
    can be shown at once.
    """
    tables = {name: table if isinstance(table, Mapping) else {} for name, table in sections.items()}
    data, method, neuron, optim = (tables.get(name, {}) for name in ("data", "method", "neuron", "optim"))
    model, loss, train = (tables.get(name, {}) for name in ("model", "loss", "train"))
    return [
        *_surrogate_arguments(neuron),
        *_arguments_of_none({"model": model, "neuron": neuron, "data": data}),
        *_arguments_of_network(model),
        *_arguments_of_library(model),
        *_arguments_of_data(data),
        *_data(data, method),
        *_neuron(neuron),
        *_loss(loss, method),
        *_schedule(optim),
        *_warmup(optim, train, data),
    ]


def _without_effect(
    section: str, table: Mapping[str, Any], unused: Mapping[str, Any], why: str, instead: str = ""
) -> Found:
    """Settings that nothing would read, and that are not at the value that they have then."""
    for key, value in unused.items():
        given = table.get(key)
        if (type(given) is type(value) or (_is_number(given) and _is_number(value))) and given != value:
            yield (section, key), f"{why}. Use {value}{instead}"


def _is_own(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and OWN_CODE.fullmatch(name) is not None


def _arguments(table: Mapping[str, Any], name: str = "name", args: str = "args") -> tuple[str, Mapping[str, Any]]:
    """What takes arguments, and these; empty for those of a wrong type."""
    named, given = table.get(name), table.get(args)
    return (named, given) if isinstance(named, str) and isinstance(given, Mapping) else ("", {})


def _unknown(taker: str, key: str, taken: Mapping[str, Any] | tuple[str, ...]) -> str:
    return f"{taker} takes no '{key}', it takes: {', '.join(taken)}.{did_you_mean(key, list(taken))}"


def _surrogate_arguments(neuron: Mapping[str, Any]) -> Found:
    surrogate, given = _arguments(neuron, "surrogate", "surrogate_args")
    for key in given if surrogate in SURROGATE_ARGUMENTS else ():
        if key not in (taken := SURROGATE_ARGUMENTS[surrogate]):
            yield ("neuron", "surrogate_args", key), _unknown(f"the surrogate '{surrogate}'", key, taken)


def _arguments_of_none(tables: Mapping[str, Mapping[str, Any]]) -> Found:
    """Arguments of what takes none."""
    for section, table in tables.items():
        name, given = _arguments(table)
        takes = _is_own(name)
        if section == "data":
            takes = takes or "args" in _taken(name, None)
        if section == "model":
            takes = takes or LIBRARY_NETWORK.fullmatch(name) is not None or name in NETWORK_ARGUMENTS
        if given and not takes:
            who = "a network of your own or a library's" if section == "model" else "code of your own"
            yield (section, "args"), f"only {who} takes arguments, and {section}.name is '{name}'"


def _arguments_of_network(model: Mapping[str, Any]) -> Found:
    """Arguments of a network of ours that it does not take, or takes in another range."""
    name, given = _arguments(model)
    for key, value in given.items() if name in NETWORK_ARGUMENTS else ():
        if key not in (taken := NETWORK_ARGUMENTS[name]):
            yield ("model", "args", key), _unknown(f"the network '{name}'", key, taken)
        elif not is_count(value, taken[key]):
            message = f"expected a whole number from 1 to {taken[key]}, got {describe_value(value)}"
            yield ("model", "args", key), message


def _arguments_of_library(model: Mapping[str, Any]) -> Found:
    """Keywords that would make a library download or unpickle weights, and those that the data or [neuron] decide."""
    name, given = _arguments(model)
    if match := LIBRARY_NETWORK.fullmatch(name):
        weights = (
            "weights of libraries are never downloaded here. Give a file as model.pretrained, or --pretrained FILE"
        )
        of_data = "the numbers of classes and channels are those of the data. Leave it out"
        refused = dict.fromkeys(WEIGHT_KEYWORDS, weights) | dict.fromkeys(DATA_KEYWORDS, of_data)
        if match["library"] == "spikingjelly":
            neurons = "the neurons of this network are those of [neuron]. Set it there"
            refused |= dict.fromkeys(NEURON_KEYWORDS, neurons)
        yield from ((("model", "args", key), refused[key]) for key in given if key in refused)


def _arguments_of_data(data: Mapping[str, Any]) -> Found:
    name, given = _arguments(data)
    if is_catalogued(name):
        yield from ((("data", "args", key), problem) for key, problem in catalogued(name).wrong_arguments(given))


def _data(data: Mapping[str, Any], method: Mapping[str, Any]) -> Found:
    """Settings for another kind of data set, which would have no effect; and T of a set that has its own."""
    name = data.get("name")
    if not isinstance(name, str):
        return
    taken = _taken(name, data.get("size"))
    for key in (*FOR_IMAGES, "roll", "frames_by", "split", "resize", "orientation", "size"):
        unset = (0, False, "batched", "number", "last100", "exact", "canonical", None)
        if key not in taken and data.get(key) not in unset:
            yield ("data", key), f"{_reason(key, taken)}, and data.name is '{name}'"
    only = CATALOG[name].timesteps if name in CATALOG else 0
    if only and (timesteps := method.get("timesteps")) != only:
        message = f"{name} has samples of {only} timesteps, so T is {only}, got {timesteps}"
        yield ("method", "timesteps"), message


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


def _neuron(neuron: Mapping[str, Any]) -> Found:
    name, v_reset, decay, learn = (neuron.get(key) for key in ("name", "v_reset", "decay", "learn"))
    if neuron.get("reset") == "soft" and _is_number(v_reset) and v_reset != 0:
        message = f"a soft reset subtracts the threshold and uses no v_reset, got {v_reset}"
        yield ("neuron", "v_reset"), f'{message}. Use 0.0, or reset = "hard"'
    if isinstance(learn, list) and "decay" in learn and _is_number(decay) and decay in (0, 1):
        message = f"a decay that is learnt stays between 0 and 1, and must start there, got {decay}"
        yield ("neuron", "decay"), message
    if learn == [] and neuron.get("learn_by") == "channel":
        yield ("neuron", "learn_by"), "is for neuron.learn, which is empty. Name decay or threshold there"
    if _is_own(name):
        why = f"is for the neuron 'lif', and neuron.name is '{name}'"
        yield from _without_effect("neuron", neuron, LIF_SETTINGS, why, ", or neuron.args")


def _loss(loss: Mapping[str, Any], method: Mapping[str, Any]) -> Found:
    name, branches, trained_by = loss.get("name"), loss.get("branches"), method.get("name")
    if name == "tet" and trained_by in RATE_METHODS:
        message = (
            f"'tet' is a loss of every timestep, and the backward pass of {trained_by} has only the mean output. Use "
            "'ce' or 'mse', or method.name bptt, bptt_s, sltt or ottt"
        )
        yield ("loss", "name"), message
    if loss.get("distill") == "":
        unused = {"distill_weight": 0.5, "distill_temperature": 4.0}
        yield from _without_effect("loss", loss, unused, "is for a teacher, and loss.distill names none")
    if branches == []:
        unused = {"branches_weight": 1.0, "branches_distill": 0.3, "branches_temperature": 3.0}
        yield from _without_effect("loss", loss, unused, "is for branches, and loss.branches names no module")
    elif isinstance(branches, list):
        means = "branches learn from means over time, and"
        if name == "tet":
            yield ("loss", "branches"), f"{means} loss.name is 'tet', a loss of every timestep. Use 'ce' or 'mse'"
        if trained_by in STEPWISE_METHODS:
            message = f"{means} with {trained_by} a pass of the network is one timestep"
            yield ("loss", "branches"), f"{message}. Use method.name rate_m, rate_s or bptt"
    if name in ("ce", "mse") or _is_own(name):
        why = f"is for the loss 'tet', and loss.name is '{name}'"
        yield from _without_effect("loss", loss, {"mse_weight": 0.0}, why)
    if _is_own(name):
        why = f"is for the losses ce, mse and tet, and loss.name is '{name}', which gets plain labels"
        yield from _without_effect("loss", loss, {"label_smoothing": 0.0}, why)


def _schedule(optim: Mapping[str, Any]) -> Found:
    """Settings that a schedule needs and lacks, or does not use."""
    name, lr, lr_min, steps = (optim.get(key) for key in ("schedule", "lr", "lr_min", "warmup_steps"))
    if name not in get_args(ScheduleName):
        return
    if name == "multistep" and optim.get("milestones") == []:
        yield ("optim", "milestones"), "multistep needs the epochs at which the rate falls, as [60, 120]"
    if name == "restarts" and optim.get("restart_epochs") == 0:
        yield ("optim", "restart_epochs"), "restarts needs the length of the first cosine in epochs, as 10"
    for key, (unused, users) in SCHEDULE_SETTINGS.items():
        if name not in users:
            why = f"is for the schedule {' or '.join(users)}, and optim.schedule is '{name}'"
            yield from _without_effect("optim", optim, {key: unused}, why)
    if _is_number(lr) and _is_number(lr_min) and lr_min > lr > 0:
        yield ("optim", "lr_min"), f"must be at most optim.lr ({lr}), got {lr_min}"
    if _is_number(steps) and steps > 0:
        if optim.get("schedule_by") == "epoch":
            message = 'needs optim.schedule_by = "step": by epoch the rate stays the same within an epoch'
            yield ("optim", "warmup_steps"), message
        if _is_number(epochs := optim.get("warmup_epochs")) and epochs > 0:
            yield ("optim", "warmup_steps"), "is another warm-up than optim.warmup_epochs. Use one of them"


def _warmup(optim: Mapping[str, Any], train: Mapping[str, Any], data: Mapping[str, Any]) -> Found:
    """A warm-up that outlasts the run; in steps, for data of a known size: the worker knows that of the others."""
    in_epochs, in_steps = optim.get("warmup_epochs"), optim.get("warmup_steps")
    epochs, split, batch = train.get("epochs"), train.get("validation_split"), data.get("batch_size")
    known = CATALOG.get(str(data.get("name")))
    samples = None if known is None or known.any_size else known.train_size
    if not _is_number(epochs) or epochs < 1:
        return
    if _is_number(in_epochs) and in_epochs > 0 and in_epochs >= epochs:
        message = f"must be fewer than train.epochs ({epochs}), got {in_epochs}. Use 0 for no warm-up"
        yield ("optim", "warmup_epochs"), message
    if samples is None or optim.get("schedule_by") != "step" or not _is_number(in_steps):
        return
    if _is_number(batch) and batch >= 1 and _is_number(split) and 0 <= split < 1:
        batches = (samples - math.ceil(split * samples)) / batch
        steps = epochs * (math.floor(batches) if data.get("drop_last") else math.ceil(batches))
        if 0 < steps <= in_steps:
            yield ("optim", "warmup_steps"), too_long(in_steps, steps)


def too_long(warmup_steps: float, steps: float) -> str:
    """What is wrong with a warm-up that outlasts a run of so many optimizer steps."""
    return f"must be fewer than the run's steps ({steps}), got {warmup_steps}. Use 0 for no warm-up"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
