"""Pictures of the tabs "Health" and "Own"."""

from pathlib import Path

import pytest

from rbp_engine.run.files.events import Event, Health, Probe, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.history import HistoryBuilder
from rbp_engine.run.status.status import Verdict
from rbp_tui.dashboard.network.health import HealthTab
from rbp_tui.dashboard.network.own import OwnTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.themes import DARK, LIGHT
from tests.dashboard.screen_pictures import at
from tests.dashboard.widgets.tab_picture import Picture

SAMPLES = 12


def sight(layers):
    """A run with samples every 10 steps, five an epoch; without layers it has none."""
    names = [f"layer{n // 6 + 1}.{n // 2 % 3}.neuron{n % 2 + 1}" for n in range(layers)]
    weights = [name.replace("neuron", "conv") for name in names] + ["head"]
    builder = HistoryBuilder()
    start = RunStart(steps_per_epoch=50, neuron_layers=names, weight_layers=weights)
    builder.add([Event(0, 0.0, 1, 0, 0, start)])
    for sample in range(1, SAMPLES + 1) if layers else ():
        shares = [0.42 * 0.9**n / sample**0.5 for n in range(layers)]
        health = Health(
            shares,
            [[share * factor for factor in (0.01, 0.1, 0.5, 1.0, 2.5)] for share in shares if share],
            [0.5 * 0.8**n for n in range(layers)] + [None],
            [0.01 * 0.8**n / sample for n in range(layers + 1)],
        )
        own = [Probe("spread of weights", 1e-4 * sample), Probe("rank", 9.0 - sample % 3)]
        builder.add(Event(sample, float(sample), 1, 0, 10 * sample, body) for body in (health, *own))
    summary = Summary("run", "digits", "e", "rate_m", 4, 1)
    return Sight(RunDirectory(Path("run")), summary, Verdict("completed", ""), builder.history())


@at("80x20", "160x41")
@pytest.mark.parametrize(
    ("tab", "layers", "theme"), [(HealthTab, 18, DARK), (OwnTab, 18, LIGHT), (OwnTab, 0, DARK)],
    ids=["health", "own", "none"],
)  # fmt: skip
def test_a_run(same_picture, size, tab, layers, theme):
    same_picture(Picture(tab(), sight(layers), theme=theme.name), size)
