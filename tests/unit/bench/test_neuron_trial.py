"""What `rbp try` says of a neuron of a user's own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.bench import inspection
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.bench.neuron_trial import check_neurons
from rbp_engine.bench.own_network import preset_for
from rbp_engine.child import no_progress
from rbp_engine.errors import NeuronError
from tests.own_neurons import OwnLIF, documented


class Silent(OwnLIF):
    def fire(self, state: Tensor) -> Tensor:
        return state - 1e9


class Unmoved(OwnLIF):
    def reset_by(self, state: Tensor, spikes: Tensor) -> Tensor:
        return state


class Infinite(OwnLIF):
    def fire(self, state: Tensor) -> Tensor:
        return (state - 1.0) + torch.where(state > 2.0, torch.sqrt(state * 0.0), 0.0)


class Detached(OwnLIF):
    def charge(self, state: Tensor, current: Tensor) -> Tensor:
        return super().charge(state, current).detach()


class Halved(torch.autograd.Function):
    """The jvp is not the backward."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent / 2


class Inconsistent(OwnLIF):
    def charge(self, state: Tensor, current: Tensor) -> Tensor:
        charged: Tensor = Halved.apply(super().charge(state, current))
        return charged


class Shared(OwnLIF):
    """The threshold of a channel is the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        self.thresholds = nn.Parameter(torch.tensor([1.0, 2.0, 3.0])[:, None])

    def fire(self, state: Tensor) -> Tensor:
        return state - self.thresholds.square().mean()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Silent, "does not fire in 16 timesteps with a current of 1000"),
        (Unmoved, "reset_by gives the same state with a spike as without"),
        (Infinite, r"the derivative of its firing rate by its current is not finite at T = 1"),
        (Detached, "autograd finds no gradient of its spikes"),
        (Inconsistent, "its firing rate by its current, taken forward in time, is not the gradient of BPTT at T = 1"),
        (Shared, "its firing rate by thresholds, .* a parameter is used in another way than one number for each"),
    ],
)
def test_what_is_wrong_with_a_neuron_is_said_by_its_name(kind, why):
    with pytest.raises(NeuronError, match=f"^{kind.__name__}: .*{why}"):
        check_neurons({kind(): (3, 2)})


def test_the_documented_neurons_pass():
    page = documented()
    neurons = [OwnLIF(detach_reset=False), page.AdaptiveLIF(), page.CurrentLIF()]
    assert check_neurons(dict.fromkeys(neurons, (3, 2))) == ["AdaptiveLIF", "CurrentLIF", "OwnLIF"]


MINE = """\
from rbp_engine.spiking import OwnNeuron

class Good(OwnNeuron):
    def charge(self, state, current): return 0.5 * state + current
    def fire(self, state): return state - 1.0
    def reset_by(self, state, spikes): return state - spikes.detach()

class Mixing(Good):
    def fire(self, state): return state - state.mean(1, keepdim=True)
"""


@pytest.fixture
def look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)

    def run_it(network: str, *overrides: str) -> dict[str, Any]:
        words = ["run.device=cpu", "T=2", *overrides]
        with temporary_run(preset_for(network, [1, 8, 8], classes=3, batch=2, overrides=words)) as run:
            return inspection.look(run, no_progress)

    return run_it


def test_a_neuron_is_tried_in_a_small_network(look):
    found = look("convnet", "neuron.name=mine.py:Good")
    assert (found["neurons"], found["neuron_layers"], found["missing"]) == (["Good"], 3, [])
    with pytest.raises(ValueError, match="Mixing: the current of one neuron changes another neuron"):
        look("convnet", "neuron.name=mine.py:Mixing")
    with pytest.raises(ValueError, match=r"^mine\.py:Good is a neuron and no network: try it with --neuron$"):
        look("mine.py:Good")
