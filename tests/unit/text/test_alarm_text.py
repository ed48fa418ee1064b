"""Alarms in words."""

import pytest

from rbp_engine.run.status.rules.rule import Alarm
from rbp_tui.text.alarm_text import alarm_line


@pytest.mark.parametrize(
    ("layer", "named"), [("2", "layer 2"), ("0.3", "layer 0.3"), ("lif1", "lif1"), ("", "network")]
)
def test_a_layer_whose_name_is_a_number_is_called_a_layer(layer, named):
    alarm = Alarm("silent", layer, 3, 0.2, "it is silent", "a cause", "a knob")
    assert alarm_line(alarm).startswith(f"{named}: ")
