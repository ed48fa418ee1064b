"""Alarms in words, and what is said of a run that has none."""

import pytest

from rbp_engine.run.files.events import Event, Health, RunStart
from rbp_engine.run.status.history import History, HistoryBuilder
from rbp_engine.run.status.rules.rule import Alarm
from rbp_engine.run.status.rules.table import RULES
from rbp_tui.text.alarm_text import NEEDED, alarm_line, alarms_text


def history(*events: Event) -> History:
    builder = HistoryBuilder()
    builder.add(events)
    return builder.history()


def test_a_run_of_which_nothing_was_recorded_is_not_called_well() -> None:
    text = alarms_text([], history()).plain
    assert text.startswith("Nothing could be checked.") and "✓" not in text
    live = {rule.reads for rule in RULES if not rule.at_end}
    assert all((f"not checked: needs {needed}\n" in text) == (reads in live) for reads, needed in NEEDED.items())


def test_what_is_checked_and_what_is_not_stand_apart() -> None:
    start = RunStart(steps_per_epoch=5, epochs=1, neuron_layers=["lif"], weight_layers=["conv"])
    health = Health(in_window=[0.3], eligibility=[[0.1] * 5], gradient_norm=[1.0], update_ratio=[1e-3])
    text = alarms_text([], history(Event(1, 1.0, 1, 0, 0, start), Event(2, 2.0, 1, 0, 1, health))).plain
    assert text.startswith("Nothing to report.")
    checked, unchecked = text.split("not checked", 1)
    assert "✓ updates that are large" in checked and "–" not in checked
    assert "probes.firing_rates=true" in unchecked and NEEDED["health"] not in unchecked


@pytest.mark.parametrize(
    ("layer", "named"), [("2", "layer 2"), ("0.3", "layer 0.3"), ("lif1", "lif1"), ("", "network")]
)
def test_a_layer_whose_name_is_a_number_is_called_a_layer(layer: str, named: str) -> None:
    alarm = Alarm("silent", layer, 3, 0.2, "it is silent", "a cause", "a knob")
    assert alarm_line(alarm).startswith(f"{named}: ")
