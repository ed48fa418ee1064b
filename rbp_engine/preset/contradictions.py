"""Settings that are each valid but contradict each other."""

import math
from collections.abc import Mapping
from typing import Any, TypeGuard, get_args

from rbp_engine.settings.lines import KeyPath
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.settings.values import describe_value
from rbp_engine.vocabulary import (
    DATA_KEYWORDS,
    EVENT_SETS,
    FOLDER_SET,
    LIBRARY_NETWORK,
    NETWORK_ARGUMENTS,
    NEURON_KEYWORDS,
    OWN_CODE,
    SURROGATE_ARGUMENTS,
    TRAINING_SAMPLES,
    WEIGHT_KEYWORDS,
    ScheduleName,
)

SEQUENTIAL_TIMESTEPS = 8
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
# What `data.args` of fake has, in words.
FAKE_ARGUMENTS: Mapping[str, str] = {
    "shape": "channels, height and width, three whole numbers from 1 to 4096",
    "classes": "a whole number from 1 to 1048576",
    "train_size": "a whole number from 1 to 1048576",
    "test_size": "a whole number from 1 to 1048576",
    "frames": "true or false",
}


def contradictions(sections: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Find the contradictions in settings given as plain tables, with every default filled in.

    Values may also be invalid: a check whose values have the wrong type is skipped, so that all problems of a preset
    can be shown at once.
    """
    return [
        *_surrogate_arguments(_table(sections, "neuron")),
        *_arguments_of_own(sections),
        *_arguments_of_network(_table(sections, "model")),
        *_arguments_of_library(_table(sections, "model")),
        *_arguments_of_fake(_table(sections, "data")),
        *_augmentation(_table(sections, "data"), _table(sections, "method")),
        *_reset_value(_table(sections, "neuron")),
        *_learnt(_table(sections, "neuron")),
        *_settings_of_lif(_table(sections, "neuron")),
        *_loss(_table(sections, "loss"), _table(sections, "method")),
        *_schedule(_table(sections, "optim")),
        *_warmup(_table(sections, "optim"), _table(sections, "train")),
        *_warmup_steps(_table(sections, "optim"), _table(sections, "train"), _table(sections, "data")),
    ]


def _table(sections: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = sections.get(name)
    return table if isinstance(table, Mapping) else {}


def _surrogate_arguments(neuron: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    surrogate, given = neuron.get("surrogate"), neuron.get("surrogate_args")
    if not isinstance(surrogate, str) or surrogate not in SURROGATE_ARGUMENTS or not isinstance(given, Mapping):
        return []
    taken = SURROGATE_ARGUMENTS[surrogate]
    return [
        (
            ("neuron", "surrogate_args", name),
            f"the surrogate '{surrogate}' takes no '{name}', it takes: {', '.join(taken)}.{did_you_mean(name, taken)}",
        )
        for name in given
        if name not in taken
    ]


def _arguments_of_own(sections: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    return [
        ((section, "args"), f"only {who} takes arguments, and {section}.name is '{name}'")
        for section, who in (
            ("model", "a network of your own or a library's"),
            ("neuron", "code of your own"),
            ("data", "code of your own"),
        )
        if (arguments := _table(sections, section).get("args"))
        and isinstance(arguments, Mapping)
        and isinstance(name := _table(sections, section).get("name"), str)
        and OWN_CODE.fullmatch(name) is None
        and not (section == "model" and (LIBRARY_NETWORK.fullmatch(name) or name in NETWORK_ARGUMENTS))
        and name != "fake"
    ]


def _arguments_of_network(model: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Arguments of a network of ours that it does not take, or takes in another range."""
    name, given = model.get("name"), model.get("args")
    if not isinstance(name, str) or name not in NETWORK_ARGUMENTS or not isinstance(given, Mapping):
        return []
    taken = NETWORK_ARGUMENTS[name]
    problems = {
        key: f"expected a whole number from 1 to {taken[key]}, got {describe_value(value)}"
        if key in taken
        else f"the network '{name}' takes no '{key}', it takes: {', '.join(taken)}.{did_you_mean(key, taken)}"
        for key, value in given.items()
        if key not in taken or not _is_count(value, taken[key])
    }
    return [(("model", "args", key), problem) for key, problem in problems.items()]


def _arguments_of_library(model: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Keywords that would make a library download or unpickle weights, and those that the data or [neuron] decide."""
    name, given = model.get("name"), model.get("args")
    if not isinstance(name, str) or not isinstance(given, Mapping) or not (match := LIBRARY_NETWORK.fullmatch(name)):
        return []
    weights = "weights of libraries are never downloaded here. Give a file as model.pretrained, or --pretrained FILE"
    refused = dict.fromkeys(WEIGHT_KEYWORDS, weights)
    refused |= dict.fromkeys(DATA_KEYWORDS, "the numbers of classes and channels are those of the data. Leave it out")
    if match["library"] == "spikingjelly":
        neurons = "the neurons of this network are those of [neuron]. Set it there"
        refused |= dict.fromkeys(NEURON_KEYWORDS, neurons)
    return [(("model", "args", key), refused[key]) for key in given if key in refused]


def _arguments_of_fake(data: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    given = data.get("args")
    if data.get("name") != "fake" or not isinstance(given, Mapping):
        return []
    found: list[tuple[KeyPath, str]] = []
    for key, value in given.items():
        path = ("data", "args", key)
        if key not in FAKE_ARGUMENTS:
            taken = ", ".join(FAKE_ARGUMENTS)
            found.append((path, f"fake takes no '{key}', it takes: {taken}.{did_you_mean(key, list(FAKE_ARGUMENTS))}"))
        elif not _is_for_fake(key, value):
            found.append((path, f"expected {FAKE_ARGUMENTS[key]}, got {describe_value(value)}"))
    return found


def _is_for_fake(key: str, value: object) -> bool:
    if key == "frames":
        return isinstance(value, bool)
    if key == "shape":
        return isinstance(value, list) and len(value) == 3 and all(_is_count(number, 4096) for number in value)
    return _is_count(value, 2**20)


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _augmentation(data: Mapping[str, Any], method: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Settings for another kind of data set, which would have no effect."""
    name = data.get("name")
    if not isinstance(name, str):
        return []
    useless: dict[str, str] = {}
    if name in EVENT_SETS or name == "imagenet" or (FOLDER_SET.fullmatch(name) and data.get("size")):
        useless = dict.fromkeys(("crop_padding", "cutout", "auto_augment"), "is for images in memory")
        useless["augment_backend"] = "is for images in memory"
    if name not in EVENT_SETS:
        useless["roll"] = "is for event data"
    if name != "cifar10_dvs":
        useless |= dict.fromkeys(("frames_by", "split", "resize", "orientation"), "is for cifar10_dvs")
    if name not in ("imagenet", "cifar10_dvs", "fake") and not FOLDER_SET.fullmatch(name):
        useless["size"] = "is for imagenet, cifar10_dvs, fake and folder:name"
    if name in ("digits", "mnist5k", "mnist", "fashion_mnist"):
        useless["auto_augment"] = "needs images of 3 channels"
    found: list[tuple[KeyPath, str]] = [
        (("data", key), f"{why}, and data.name is '{name}'")
        for key, why in useless.items()
        if data.get(key) not in (0, False, "batched", "number", "last100", "exact", "canonical", None)
    ]
    if name == "sequential_digits" and method.get("timesteps") != SEQUENTIAL_TIMESTEPS:
        message = f"sequential_digits shows one row of 8 at each timestep, so T is 8, got {method.get('timesteps')}"
        found.append((("method", "timesteps"), message))
    return found


def _reset_value(neuron: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    value = neuron.get("v_reset")
    if neuron.get("reset") != "soft" or not _is_number(value) or value == 0:
        return []
    message = f'a soft reset subtracts the threshold and uses no v_reset, got {value}. Use 0.0, or reset = "hard"'
    return [(("neuron", "v_reset"), message)]


def _learnt(neuron: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    learn, decay = neuron.get("learn"), neuron.get("decay")
    if not isinstance(learn, list):
        return []
    found: list[tuple[KeyPath, str]] = []
    if "decay" in learn and _is_number(decay) and decay in (0, 1):
        message = f"a decay that is learnt stays between 0 and 1, and must start there, got {decay}"
        found.append((("neuron", "decay"), message))
    if not learn and neuron.get("learn_by") == "channel":
        found.append((("neuron", "learn_by"), "is for neuron.learn, which is empty. Name decay or threshold there"))
    return found


def _settings_of_lif(neuron: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Settings of the built-in neuron that a user's own does not have."""
    name = neuron.get("name")
    if not isinstance(name, str) or OWN_CODE.fullmatch(name) is None:
        return []
    return [
        (("neuron", key), f"is for the neuron 'lif', and neuron.name is '{name}'. Use {default}, or neuron.args")
        for key, default in LIF_SETTINGS.items()
        if neuron.get(key) != default
    ]


def _loss(loss: Mapping[str, Any], method: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    name, weight, trained_by = loss.get("name"), loss.get("mse_weight"), method.get("name")
    found: list[tuple[KeyPath, str]] = []
    if name == "tet" and trained_by in RATE_METHODS:
        message = (
            f"'tet' is a loss of every timestep, and the backward pass of {trained_by} has only the mean output. Use "
            "'ce' or 'mse', or method.name bptt, bptt_s, sltt or ottt"
        )
        found.append((("loss", "name"), message))
    if loss.get("distill") == "":
        for key, unused in (("distill_weight", 0.5), ("distill_temperature", 4.0)):
            if _is_number(value := loss.get(key)) and value != unused:
                found.append((("loss", key), f"is for a teacher, and loss.distill names none. Use {unused}"))
    found += _branches(loss, trained_by)
    own = isinstance(name, str) and OWN_CODE.fullmatch(name) is not None
    if (name in ("ce", "mse") or own) and _is_number(weight) and weight > 0:
        found.append((("loss", "mse_weight"), f"is for the loss 'tet', and loss.name is '{name}'. Use 0.0"))
    if own and _is_number(smoothing := loss.get("label_smoothing")) and smoothing > 0:
        message = f"is for the losses ce, mse and tet, and loss.name is '{name}', which gets plain labels. Use 0.0"
        found.append((("loss", "label_smoothing"), message))
    return found


def _branches(loss: Mapping[str, Any], method: Any) -> list[tuple[KeyPath, str]]:
    """Settings of branches without branches, and branches that would have no time mean to learn from."""
    branches = loss.get("branches")
    if not isinstance(branches, list):
        return []
    if not branches:
        return [
            (("loss", key), f"is for branches, and loss.branches names no module. Use {unused}")
            for key, unused in (("branches_weight", 1.0), ("branches_distill", 0.3), ("branches_temperature", 3.0))
            if _is_number(value := loss.get(key)) and value != unused
        ]
    found: list[tuple[KeyPath, str]] = []
    if loss.get("name") == "tet":
        message = (
            "branches learn from means over time, and loss.name is 'tet', a loss of every timestep. Use 'ce' or 'mse'"
        )
        found.append((("loss", "branches"), message))
    if method in STEPWISE_METHODS:
        message = (
            f"branches learn from means over time, and with {method} a pass of the network is one timestep. Use "
            "method.name rate_m, rate_s or bptt"
        )
        found.append((("loss", "branches"), message))
    return found


def _schedule(optim: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Settings that a schedule needs and lacks, or does not use."""
    name, lr, lr_min = optim.get("schedule"), optim.get("lr"), optim.get("lr_min")
    if name not in get_args(ScheduleName):
        return []
    found: list[tuple[KeyPath, str]] = []
    if name == "multistep" and optim.get("milestones") == []:
        found.append((("optim", "milestones"), "multistep needs the epochs at which the rate falls, as [60, 120]"))
    if name == "restarts" and optim.get("restart_epochs") == 0:
        found.append((("optim", "restart_epochs"), "restarts needs the length of the first cosine in epochs, as 10"))
    for key, (unused, users) in SCHEDULE_SETTINGS.items():
        value = optim.get(key)
        if (_is_number(value) or isinstance(value, list)) and value != unused and name not in users:
            message = f"is for the schedule {' or '.join(users)}, and optim.schedule is '{name}'. Use {unused}"
            found.append((("optim", key), message))
    if _is_number(lr) and _is_number(lr_min) and lr_min > lr > 0:
        found.append((("optim", "lr_min"), f"must be at most optim.lr ({lr}), got {lr_min}"))
    steps = optim.get("warmup_steps")
    if _is_number(steps) and steps > 0:
        if optim.get("schedule_by") == "epoch":
            message = 'needs optim.schedule_by = "step": by epoch the rate stays the same within an epoch'
            found.append((("optim", "warmup_steps"), message))
        if _is_number(epochs := optim.get("warmup_epochs")) and epochs > 0:
            found.append((("optim", "warmup_steps"), "is another warm-up than optim.warmup_epochs. Use one of them"))
    return found


def _warmup(optim: Mapping[str, Any], train: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    warmup, epochs = optim.get("warmup_epochs"), train.get("epochs")
    if not _is_number(warmup) or not _is_number(epochs) or warmup <= 0 or epochs < 1 or warmup < epochs:
        return []
    message = f"must be fewer than train.epochs ({epochs}), got {warmup}. Use 0 for no warm-up"
    return [(("optim", "warmup_epochs"), message)]


def _warmup_steps(
    optim: Mapping[str, Any], train: Mapping[str, Any], data: Mapping[str, Any]
) -> list[tuple[KeyPath, str]]:
    """A warm-up that outlasts the run, for data of a known size; the worker knows that of the others."""
    warmup, epochs, size = optim.get("warmup_steps"), train.get("epochs"), data.get("batch_size")
    split, samples = train.get("validation_split"), TRAINING_SAMPLES.get(str(data.get("name")))
    if not _is_number(warmup) or not _is_number(epochs) or not _is_number(size) or not _is_number(split):
        return []
    if samples is None or optim.get("schedule_by") != "step" or epochs < 1 or size < 1 or not 0 <= split < 1:
        return []
    batches = (samples - math.ceil(split * samples)) / size
    steps = epochs * (math.floor(batches) if data.get("drop_last") else math.ceil(batches))
    return [(("optim", "warmup_steps"), too_long(warmup, steps))] if 0 < steps <= warmup else []


def too_long(warmup_steps: float, steps: float) -> str:
    """What is wrong with a warm-up that outlasts a run of so many optimizer steps."""
    return f"must be fewer than the run's steps ({steps}), got {warmup_steps}. Use 0 for no warm-up"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
