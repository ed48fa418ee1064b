"""The rules that judge a run while it trains: what is wrong, since when, its cause, and the setting that changes it.

A rule is a function of a run's history that yields alarms, and a line in `RULES`. An alarm holds at the newest sample.
Where one layer has gone silent, those behind it and the accuracy suffer too: only the first cause is reported. The
limits lie between what runs of the bundled presets show and what runs with a fault show; `tests/alarms` has both.
"""

from collections.abc import Sequence

import numpy as np

from rbp_engine.run.files.events import Body, FiringRates, GradientFidelity, Health, Metrics, RunStart
from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.gradients import fidelity, gradient, large_steps, small_steps
from rbp_engine.run.status.rules.layers import fading, saturated, silent, uneven
from rbp_engine.run.status.rules.learning import chance, loss
from rbp_engine.run.status.rules.rule import Alarm, Rule

#: The kinds of events that rules read.
JUDGED: tuple[type[Body], ...] = (RunStart, Metrics, FiringRates, GradientFidelity, Health)

RULES: tuple[Rule, ...] = (
    Rule("silent", "layers whose neurons are silent", silent, "firing", blocks=True),
    Rule("fading", "rates that vanish with depth", fading, "firing", blocks=True),
    Rule("saturated", "layers whose neurons fire all the time", saturated, "firing", blocks=True),
    Rule("uneven", "rates that differ strongly between timesteps (rate methods)", uneven, "firing"),
    Rule("large_steps", "updates that are large beside the weights", large_steps, "health"),
    Rule("small_steps", "updates that are lost beside the weights", small_steps, "health"),
    Rule("gradient", "gradients that vanish before the first layers", gradient, "health", follows=("large_steps",)),
    Rule("fidelity", "a gradient far from BPTT's (rate methods)", fidelity, "fidelity"),
    Rule("loss", "a training loss far above that of guessing", loss, follows=("large_steps", "gradient")),
    Rule(
        "chance",
        "a training accuracy of chance after three epochs",
        chance,
        follows=("uneven", "large_steps", "small_steps", "gradient", "fidelity", "loss"),
    ),
)


def unchecked(history: History) -> tuple[Rule, ...]:
    """The rules that have nothing to read yet, or never will because their probe is off."""
    known = {
        "firing": history.firing is not None,
        "fidelity": history.fidelity is not None,
        "health": history.health is not None,
        "curves": history.classes > 0 and "train/loss" in history.curves,
    }
    return tuple(rule for rule in RULES if not known[rule.reads])


def alarms(history: History) -> tuple[Alarm, ...]:
    """What is wrong with a run at its newest samples, the earliest first; consequences of an alarm are left out."""
    with np.errstate(all="ignore"):  # events may hold any number
        found = [(rule, alarm) for rule in RULES for alarm in rule.find(history)]
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
