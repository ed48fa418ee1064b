"""The rules that judge a run: what is wrong, since when, its cause, and the setting that changes it.

A rule is a function of a run's history that yields alarms, and a line in `RULES`. An alarm holds at the newest sample.
Rules about the end of a run judge the whole of it once it has ended: `findings` has what they say beside the alarms.
Where one layer has gone silent, those behind it and the accuracy suffer too: only the first cause is reported. The
limits lie between what runs of the bundled presets show and what runs with a fault show; `tests/alarms` has both.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rbp_engine.run.files.events import (
    Body,
    FiringRates,
    GradientFidelity,
    Health,
    Metrics,
    RunStart,
    System,
    Validation,
)
from rbp_engine.run.history.history import History
from rbp_engine.run.history.rules.ended import (
    decline,
    improving,
    input_bound,
    memory,
    no_progress,
    overfit,
    ranks,
    timesteps,
    unfinished,
)
from rbp_engine.run.history.rules.rule import Alarm, Reads, Rule
from rbp_engine.run.history.rules.training import (
    chance,
    fading,
    fidelity,
    gradient,
    large_steps,
    loss,
    saturated,
    silent,
    small_steps,
    uneven,
)

#: The kinds of events that the rules read which judge a run while it trains, and those of all ranks for the others.
JUDGED: tuple[type[Body], ...] = (RunStart, Metrics, FiringRates, GradientFidelity, Health)
JUDGED_AT_END: tuple[type[Body], ...] = (*JUDGED, Validation, System)

#: What a network that has learned nothing looks like.
UNLEARNT = ("loss", "chance", "large_steps", "small_steps", "gradient")

RULES: tuple[Rule, ...] = (
    Rule("silent", "layers whose neurons are silent", silent, "firing", blocks=True),
    Rule("fading", "rates that vanish with depth", fading, "firing", blocks=True),
    Rule("saturated", "layers whose neurons fire all the time", saturated, "firing", blocks=True),
    Rule("uneven", "rates that differ strongly between timesteps (rate methods)", uneven, "firing"),
    Rule("large_steps", "updates that are large beside the weights", large_steps, "health"),
    Rule("small_steps", "updates that are lost beside the weights", small_steps, "health"),
    Rule(
        "gradient",
        "gradients that vanish before the first layers",
        gradient,
        "health",
        follows=("large_steps", "loss"),
    ),
    Rule("fidelity", "a gradient far from BPTT's (rate methods)", fidelity, "fidelity"),
    Rule("loss", "a training loss far above that of guessing", loss, follows=("large_steps",)),
    Rule(
        "chance",
        "a training accuracy of chance after three epochs",
        chance,
        follows=("uneven", "large_steps", "small_steps", "gradient", "fidelity", "loss"),
    ),
    Rule("decline", "an accuracy that falls after its best epoch", decline, "evaluations", at_end=True),
    Rule("overfit", "training images learnt by heart", overfit, "evaluations", at_end=True),
    Rule("unfinished", "a schedule that has not come to its end", unfinished, "evaluations", at_end=True),
    Rule("improving", "too few epochs", improving, "evaluations", at_end=True, follows=("unfinished", *UNLEARNT)),
    Rule("no_progress", "epochs that improve nothing", no_progress, "evaluations", at_end=True, follows=UNLEARNT),
    Rule(
        "timesteps",
        "timesteps that decide nothing",
        timesteps,
        "timesteps",
        at_end=True,
        follows=("unfinished", "improving", *UNLEARNT),
    ),
    Rule("input", "steps that wait for their data", input_bound, "times", at_end=True),
    Rule("memory", "memory that is nearly full", memory, "memory", at_end=True),
    Rule("ranks", "a process that the others wait for", ranks, "ranks", at_end=True),
)


def unchecked(history: History) -> tuple[Rule, ...]:
    """The rules that have nothing to read yet, or never will because their probe is off."""
    several = [name for name in history.curves if name.startswith("rank_data_ms")]
    known: dict[Reads, bool] = {
        "firing": history.firing is not None,
        "fidelity": history.fidelity is not None,
        "health": history.health is not None,
        "curves": history.classes > 0 and "train/loss" in history.curves,
        "evaluations": "validation/top1" in history.curves,
        "timesteps": history.accuracy is not None and history.accuracy.top1_by_step.shape[1] > 1,
        "times": "data_ms" in history.curves,
        "memory": bool(history.attempt and history.attempt.begun.memory) and "mem_peak" in history.curves,
        "ranks": len(several) > 1,
    }
    return tuple(rule for rule in RULES if not known[rule.reads])


def alarms(history: History) -> tuple[Alarm, ...]:
    """What is wrong with a run at its newest samples, the earliest first; consequences of an alarm are left out."""
    return _judge(history, [rule for rule in RULES if not rule.at_end])


def findings(history: History) -> tuple[Alarm, ...]:
    """What there is to say about a run that has ended: its alarms, and what the rules about the end find.

    The history has to be of all ranks. The alarms come first, then the others in the order of the rules.
    """
    found = _judge(history, RULES)
    order = {rule.name: number for number, rule in enumerate(RULES) if rule.at_end}
    return tuple(sorted(found, key=lambda alarm: order.get(alarm.rule, -1)))


def _judge(history: History, rules: Sequence[Rule]) -> tuple[Alarm, ...]:
    with np.errstate(all="ignore"):  # events may hold any number
        found = [(rule, alarm) for rule in rules for alarm in rule.find(history)]
    if history.foreign:  # whose settings are not those that a rule would change
        found = [(rule, replace(alarm, knob="")) for rule, alarm in found]
    layers = history.firing.neuron_layers if history.firing is not None else ()
    causes = [alarm for rule, alarm in found if not any(_follows(rule, alarm, *other, layers) for other in found)]
    return tuple(sorted(causes, key=lambda alarm: alarm.step))


def _follows(rule: Rule, alarm: Alarm, other: Rule, earlier: Alarm, layers: Sequence[str]) -> bool:
    """Whether an alarm may be a consequence of another, which came no later.

    Behind a neuron layer that lets nothing through, and of weights and the whole network, everything may be.
    """
    if alarm is earlier or alarm.step < earlier.step:
        return False
    if not other.blocks:
        return other.name in rule.follows
    return alarm.layer not in layers or layers.index(alarm.layer) > layers.index(earlier.layer)
