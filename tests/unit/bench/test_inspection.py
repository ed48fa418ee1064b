"""The findings of `rbp try` about a network, in this process."""

from typing import Any

import pytest

from rbp_engine.bench import inspection
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.bench.own_network import preset_for
from rbp_engine.child import no_progress
from rbp_engine.spiking.rules.rule_table import RULES

NETS = """\
import torch
from torch import nn
import torch.nn.functional as F


def good(*, num_classes, in_channels, neuron):
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1), nn.BatchNorm2d(4), neuron(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, num_classes),
    )


class Limited(nn.Module):
    def __init__(self, *, num_classes, in_channels, neuron):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.neuron = neuron()
        self.norm = nn.LocalResponseNorm(2)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        x = torch.fmax(self.conv(x), x.mean(1, keepdim=True).sum((2, 3), keepdim=True))
        x = torch.fmod(self.norm(x), torch.ones(()))
        return self.head(self.neuron(x).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, *, num_classes, in_channels, neuron):
        super().__init__()
        self.neuron, self.lstm = neuron(), nn.LSTM(in_channels, 8, batch_first=True)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.lstm(self.neuron(x).flatten(2).transpose(1, 2))[0].mean(1))


class Mapped(nn.Conv2d):
    def __init__(self, *, num_classes, in_channels, neuron):
        super().__init__(in_channels, num_classes, 3)


def small(*, num_classes, in_channels, neuron):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), neuron(), nn.Linear(8, num_classes))


def without_neuron(num_classes=10, in_channels=3):
    return nn.Linear(1, 1)


def wants_width(*, width, **keywords):
    return nn.Linear(1, 1)


def number(**keywords):
    return 7


def nodes(*, num_classes, in_channels, neuron):
    from spikingjelly.activation_based import layer
    from spikingjelly.activation_based.neuron import IFNode, LIFNode

    return nn.Sequential(
        layer.Conv2d(in_channels, 4, 3), LIFNode(), neuron(), IFNode(), LIFNode(), LIFNode(), nn.Flatten()
    )
"""


@pytest.fixture
def look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)

    def run_it(name: str, *overrides: str) -> dict[str, Any]:
        loaded = preset_for(f"nets.py:{name}", [2, 8, 8], classes=5, batch=4, overrides=["run.device=cpu", *overrides])
        with temporary_run(loaded) as run:
            return inspection.look(run, no_progress)

    return run_it


def test_a_network_of_known_operations_has_cosines_for_every_layer_which_are_one_at_one_timestep(look):
    found = look("good", "T=3")
    assert (found["missing"], found["neuron_layers"]) == ([], 1)
    assert [layer["layer"] for layer in found["layers"]] == ["conv 1", "linear 1"]
    assert all(0.5 < found["overall"][method] <= 1.0 + 1e-9 for method in ("rate_m", "rate_s"))
    for layer in look("good", "T=1")["layers"]:
        assert (layer["rate_m"], layer["rate_s"]) == (pytest.approx(1.0), pytest.approx(1.0))


def test_all_operations_without_a_rule_are_found_at_once_and_the_rule_table_is_unchanged(look):
    before = dict(RULES)
    found = look("Limited")
    line = 1 + NETS.splitlines().index("        x = torch.fmod(self.norm(x), torch.ones(()))")
    assert [(missing["module"], missing["operation"], missing["line"]) for missing in found["missing"]] == [
        ("the network (Limited)", "fmax", f"nets.py line {line - 1}"),
        ("norm (LocalResponseNorm)", "local_response_norm", f"nets.py line {line}"),
        ("the network (Limited)", "fmod", f"nets.py line {line}"),
    ]
    assert (found["layers"], found["overall"]) == ([], None)
    assert before == RULES


def test_a_recurrent_layer_is_named_and_not_called_with_states_of_another_shape(look):
    """LSTM of torch then writes beyond its memory, and the process ends."""
    [missing] = look("Recurrent")["missing"]
    assert (missing["module"], missing["operation"]) == ("lstm (LSTM)", "lstm")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mapped", r"for 4 images the network returns \[4, 5, 6, 6\], not logits \[4, 5\]"),
        (
            "without_neuron",
            r"called with the keywords num_classes, in_channels, neuron, but .*unexpected keyword argument 'neuron'\. "
            r"Its signature is \(num_classes=10, in_channels=3\); .*rbp try --example",
        ),
        (
            "wants_width",
            r"missing 1 required keyword-only argument: 'width'\. Its signature is \(\*, width, \*\*keywords\)",
        ),
        ("number", r"^nets\.py:number gave int, not a torch\.nn\.Module$"),
        (
            "nodes",
            r"^SpikingJelly's IFNode, LIFNode at 1, 3, 4 and 1 more places are not trained here, "
            r"rbp_engine\.spiking\.make_spiking\(network\) puts LIF in their place\. SpikingJelly's layers can stay$",
        ),
        ("small", r"on images of 2×8×8 \(--input\) the network fails: .*mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_network_that_breaks_the_contract_is_refused_with_the_reason(look, name, message):
    with pytest.raises(ValueError, match=message):
        look(name)
