"""Check whether a network can be trained, and compare its gradients with BPTT's:
`python -m rbp_engine.bench.inspection RUN`, JSON on stdout.

The network of the run's preset runs on random images, with its initial weights.
"""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.bench.measure import stand_in
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.neuron_trial import check_neurons, shapes_of_inputs
from rbp_engine.child import Progress
from rbp_engine.data.feed import Feed
from rbp_engine.data.open_feed import known_shape
from rbp_engine.methods import create_method
from rbp_engine.methods.inputs import Input, check_images, is_static
from rbp_engine.methods.loss import CROSS_ENTROPY, StepLoss, logits_of
from rbp_engine.preset import read_resolved
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.gradient_fidelity import first_samples, gradient_fidelity
from rbp_engine.probes.layers import NEURON_LAYERS, names_for_people
from rbp_engine.probes.own_metrics import RunLog, fault_of, load_metrics
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking import OwnNeuron, RateTensor
from rbp_engine.spiking.convert.spikingjelly_map import why_not_trained
from rbp_engine.spiking.errors import RECURRENT, UnsupportedOperation
from rbp_engine.spiking.rules.linear_rules import linear
from rbp_engine.spiking.rules.rule_table import RULES
from rbp_engine.train.build import build_branches, build_feed, build_loss, build_model
from rbp_engine.train.device import choose_device
from rbp_engine.train.pretrained import load_pretrained
from rbp_engine.train.ranks.seeding import seed_everything
from rbp_engine.user_code import is_from_library, is_own, load_own, place_in_own_code

# The keywords that a user's own network is called with, besides those in `model.args`.
KEYWORDS = ("num_classes", "in_channels", "neuron")
# Gradients need no large batch.
BATCH = 16
COMPARED = ("rate_m", "rate_s")

# (module path, operation) to the line in its code, and to the reason, "" if there is no rule at all.
Missing = dict[tuple[str, str], tuple[str, str]]


def look(run: RunDirectory, say: Progress) -> dict[str, Any]:
    """The fields of an `Inspection`.

    Raises ValueError for a network that returns no logits, or has no place for a head that the preset asks for.
    """
    say("running the network once", 0.5)
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    feed = build_feed(run, stand_in.with_stand_in(preset, known_shape(preset.data)), device)
    seed_everything(preset.run.seed)
    notes: list[str] = []
    model = built(run, preset, feed, device, notes.append).train()
    if preset.model.pretrained:
        notes.append(load_pretrained(preset.model, model))
    if why := why_not_trained(model):
        raise ValueError(why)
    images, labels = first_samples(*next(iter(feed.train.epoch(0))), BATCH)
    with shapes_of_inputs(model) as shapes:
        try:
            missing = survey(model, images, preset.method.timesteps)
        except RuntimeError as error:
            # Of a network of torch's modules alone the traceback has no line; other kinds are no mistake in it.
            if type(error) is not RuntimeError or place_in_own_code(error, run.code) or is_from_library(error):
                raise
            size = "×".join(map(str, images.shape[1:]))
            raise ValueError(f"on images of {size} (--input) the network fails: {error}") from error
    result = {
        "neurons": check_neurons(shapes),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "neuron_layers": sum(isinstance(module, NEURON_LAYERS) for module in model.modules()),
        "missing": [
            {"module": where, "operation": name, "line": line, "why": why}
            for (where, name), (line, why) in missing.items()
        ],
        "layers": [],
        "overall": None,
        "metrics": {},
        "notes": notes,
    }
    if not missing:
        say("comparing its gradients with BPTT's", 0.7)
        _check_logits(model, images, preset.method.timesteps, feed.classes)
        build_branches(preset, model, feed)
        result |= agreement(model, images, labels, preset, _loss(preset, run))
    if not missing and preset.probes.own:
        create_method(preset.method.name, preset.method.timesteps, loss=_loss(preset, run)).step(model, images, labels)
        result["metrics"] = _metrics(preset.probes.own, run, model)
    return result


@torch.no_grad()
def _metrics(name: str, run: RunDirectory, model: nn.Module) -> dict[str, float]:
    """What the user's function logs after a step. Raises ValueError with file and line of an error in it."""
    log = RunLog(step=1, epoch=1)
    try:
        load_metrics(name, run.code)(log, model)
        return log.values()
    except Exception as error:
        raise ValueError(fault_of(error, name, run.code)) from error


def built(
    run: RunDirectory,
    preset: Preset,
    feed: Feed,
    device: torch.device,
    told: Callable[[str], None] = lambda text: None,
) -> nn.Module:
    """The network of a run; `told` gets what its user should know of it.

    Raises ValueError if it is the user's own and does not take the keywords it is given.
    """
    try:
        return build_model(run, preset, feed, device, told)
    except TypeError as error:
        if place_in_own_code(error, run.code) or not is_own(preset.model.name):
            raise
        raise ValueError(_keywords_refused(run, preset, error)) from error


def _keywords_refused(run: RunDirectory, preset: Preset, error: TypeError) -> str:
    """The message if the user's class or function does not accept the keywords that it is called with."""
    own = load_own(preset.model.name, run.code)
    if inspect.isclass(own) and issubclass(own, OwnNeuron):
        return f"{preset.model.name} is a neuron and no network: try it with --neuron"
    keywords = ", ".join(dict.fromkeys([*KEYWORDS, *preset.model.args]))
    return (
        f"{preset.model.name} is called with the keywords {keywords}, but {error}. Its signature is "
        f"{inspect.signature(own)}; neuron() makes a layer of neurons; rbp try --example writes a network to begin with"
    )


@torch.no_grad()
def survey(model: nn.Module, images: Tensor, timesteps: int) -> Missing:
    """All operations of a network that have no rule, or are used in a way that their rule does not allow.

    The first one makes the forward pass fail; to find the others, it is allowed and applied to each timestep, which
    gives a result that cannot be trained. The rule table is restored at the end.
    """
    found: Missing = {}
    before = dict(RULES)
    try:
        while True:
            try:
                model(_rates(images, timesteps))
                return found
            except UnsupportedOperation as error:
                found.setdefault((error.module, error.operation), (error.line, error.why))
                if RULES.get(error.operation) is not before.get(error.operation):
                    return found  # already allowed, and still refused
                if error.why == RECURRENT:
                    return found  # with states of another shape, torch's own may write beyond its memory
                RULES[error.operation] = _rule_or_each_sample(before.get(error.operation), found)
            except Exception:
                if found:  # the result of an operation without a rule may not suit the next one
                    return found
                raise
    finally:
        RULES.clear()
        RULES.update(before)


def _rates(images: Tensor, timesteps: int) -> RateTensor:
    """The input of rate_M, the carrier that demands most of an operation."""
    check_images(images, timesteps)
    return RateTensor(Input(images, timesteps, is_static(images)).current())


def _rule_or_each_sample(rule: Any, found: Missing) -> Callable[..., Any]:
    """The rule if it applies; otherwise the operation is added to `found` and applied to each timestep."""

    def apply(carrier: Any, function: Any, args: Any, kwargs: Any) -> Any:
        try:
            if rule is None:
                raise UnsupportedOperation(function.__name__)
            return rule(carrier, function, args, kwargs)
        except UnsupportedOperation as error:
            found.setdefault((error.module, error.operation), (error.line, error.why))
            return linear(carrier, function, args, kwargs, over="batch")

    return apply


def _check_logits(model: nn.Module, images: Tensor, timesteps: int, classes: int) -> None:
    batch = images.shape[images.ndim - 4]
    with torch.no_grad():
        shape = list(logits_of(model(_rates(images, timesteps)), RateTensor).shape)
    if shape != [batch, classes]:
        raise ValueError(
            f"for {batch} images the network returns {shape}, not logits [{batch}, {classes}]: it must end in a linear "
            "layer with num_classes outputs, after flatten(1)"
        )


def _loss(preset: Preset, run: RunDirectory) -> StepLoss:
    """The loss to compare gradients of: a user's own, else cross entropy, which every method has."""
    return build_loss(preset, run.code) if is_own(preset.loss.name) else CROSS_ENTROPY


def agreement(
    model: nn.Module, images: Tensor, labels: Tensor, preset: Preset, loss: StepLoss = CROSS_ENTROPY
) -> dict[str, Any]:
    """By method, the cosine of its gradient with BPTT's: `layers` and `overall`; None if one is 0."""
    timesteps, seed = preset.method.timesteps, preset.run.seed
    methods = {name: create_method(name, timesteps, loss=loss) for name in COMPARED}
    found = {name: gradient_fidelity(model, method, images, labels, seed) for name, method in methods.items()}
    called = names_for_people(model, found[COMPARED[0]].by_weight)
    layers = [
        {"layer": called[layer]} | {name: one.by_weight[layer].cosine for name, one in found.items()}
        for layer in found[COMPARED[0]].by_weight
    ]
    overall = {name: one.whole.cosine for name, one in found.items()}
    return {"layers": layers, "overall": {"layer": "all layers"} | overall}


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), look))
