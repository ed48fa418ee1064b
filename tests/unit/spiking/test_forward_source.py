"""Activations that a module calls as functions become neurons, and such networks can be pickled."""

import copy
import importlib
import pickle
import subprocess
import sys
import traceback

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn import functional as F

from rbp_engine.methods import create_method, reset_state
from rbp_engine.spiking import make_spiking
from rbp_engine.spiking.rules.nonlinear_rules import warn_of_numbers


class Functional(nn.Module):
    """Calls activations as functions, in all forms that people write."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 3)
        self.act = F.gelu

    def forward(self, x):
        x = functional.relu(self.first(x), inplace=True)
        x = F.dropout(x, 0.5, training=self.training)
        return self.head(x)

    def head(self, x):
        return self.second(self.act(x + torch.relu(self.first(x)).relu()))

    def never_called(self, x):
        return F.silu(x)


def test_activations_that_a_forward_calls_as_functions_become_neurons():
    network = Functional()
    parameters = list(network.state_dict())
    _, report = make_spiking(network)
    assert [part.kind for part in report.replaced] == ["gelu()", "relu()", "relu()", "relu()"]
    assert list(network.state_dict()) == parameters
    assert not report.kept
    assert isinstance(network, Functional)
    assert copy.deepcopy(network).eval()(torch.rand(2, 6)).shape == (2, 3)
    create_method("rate_m", timesteps=3).step(network, torch.rand(2, 6), torch.tensor([0, 1]))
    assert network.first.weight.grad is not None


class Private(nn.Module):
    def __init__(self):
        super().__init__()
        self.__own = nn.Linear(4, 4)

    def forward(self, x):
        return self.__act(x)

    def __act(self, x):
        return F.relu(self.__own(x))


SOURCE = """
from __future__ import annotations
from typing import TYPE_CHECKING
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from somewhere import Spikes

class Scaled(nn.Module):
    SCALE = 2.0

    def forward(self, x: Spikes, scale: float = SCALE, *, shift: float = SCALE) -> Spikes:
        return F.relu(x) * scale + shift
"""


def test_a_forward_is_rewritten_with_annotations_for_type_checkers_alone_and_with_defaults_of_its_class(
    tmp_path, monkeypatch
):
    (tmp_path / "scaled_network.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    network, report = make_spiking(importlib.import_module("scaled_network").Scaled())
    assert [part.path for part in report.replaced] == ["relu_neuron"]
    assert network(torch.tensor([[0.0, 3.0]])).tolist() == [[2.0, 4.0]]


def test_names_that_are_private_to_a_class_stand_for_the_same_in_a_rewritten_method():
    network, report = make_spiking(Private())
    assert [part.path for part in report.replaced] == ["relu_neuron"]
    assert network(torch.rand(2, 4)).shape == (2, 4)


class Broken(nn.Module):
    def forward(self, x):
        x = F.relu(x)
        raise RuntimeError("here")


def test_a_traceback_shows_the_line_of_a_rewritten_method():
    network, report = make_spiking(Broken())
    assert report.replaced
    with pytest.raises(RuntimeError) as error:
        network(torch.rand(2))
    assert traceback.extract_tb(error.tb)[-1].line == 'raise RuntimeError("here")'


class Unread(nn.Module):
    def forward(self, x):
        text = """With text in the first column the source of this method alone is none.
Text."""
        return F.relu(x) + len(text)


def typed():
    """A class without a file."""
    namespace = {"F": F}
    exec("def forward(self, x): return F.relu(x)", namespace)
    return type("Typed", (nn.Module,), {"forward": namespace["forward"]})


@pytest.mark.parametrize("kind", [Unread, typed()])
def test_a_function_that_cannot_be_replaced_is_reported_with_its_module(kind):
    _, report = make_spiking(nn.Sequential(kind()))
    assert not report.replaced
    assert report.kept[0].path == "0"
    assert f"{kind.__name__}.forward has no source that can be read" in report.kept[0].note


UNUSUAL = """
import functools
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import relu as r
from torch.nn.functional import gelu as g

class Renamed(nn.Module):
    def forward(self, x):
        return r(x) + g(x)

bound = functools.partial(F.gelu, approximate="tanh")

class Bound(nn.Module):
    def forward(self, x, /):
        return bound(x)

class Static(nn.Module):
    @staticmethod
    def act(x):
        return F.relu(x)

    @classmethod
    def other(cls, x):
        return x.relu()

    def forward(self, x):
        return self.act(x) + self.other(x)

class Inherited(Bound):
    def forward(self, x):
        return super().forward(x) + F.relu(x)

def assigned(self, x):
    return F.elu(x)

class Assigned(nn.Module):
    forward = assigned

class Named(nn.Module):
    def forward(self, x):
        act = F.relu
        return act(x) + F.silu(x)

def made():
    act = F.elu

    class Closed(nn.Module):
        def forward(self, x):
            return act(x)

    return Closed()
"""


@pytest.fixture
def unusual(tmp_path, monkeypatch):
    (tmp_path / "unusual.py").write_text(UNUSUAL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "unusual", raising=False)
    yield importlib.import_module("unusual")
    sys.modules.pop("unusual", None)


def test_activations_under_names_of_ones_own_become_neurons(unusual):
    for network, expected in (
        (unusual.Renamed(), {"relu()", "gelu()"}),
        (unusual.Bound(), {"gelu()"}),
        (unusual.Assigned(), {"elu()"}),
        (unusual.made(), {"elu()"}),
    ):
        _, report = make_spiking(network)
        assert {part.kind for part in report.replaced} == expected
        assert not report.kept
        assert network(torch.tensor([0.5, 3.0])).tolist() == [0.0, float(len(expected))]


def test_an_activation_that_is_named_without_being_called_stays_and_is_reported(unusual):
    network, report = make_spiking(nn.Sequential(unusual.Named()))
    assert [part.kind for part in report.replaced] == ["silu()"]
    [kept] = report.kept
    assert kept.path == "0"
    assert kept.note == "calls activations as functions: Named.forward names relu without calling it"
    network(torch.tensor([0.5, 3.0]))
    _, report = make_spiking(network)
    assert not report.replaced, "a second conversion finds nothing in rewritten methods"


@pytest.mark.parametrize(("name", "replaced"), [("Static", []), ("Inherited", ["relu()"])])
def test_a_step_warns_of_activations_that_static_methods_and_super_call(unusual, name, replaced):
    network, report = make_spiking(nn.Sequential(getattr(unusual, name)(), nn.Linear(2, 2)))
    assert [part.kind for part in report.replaced] == replaced and not report.kept
    warn_of_numbers.cache_clear()  # another test may have had it
    with pytest.warns(UserWarning, match="gives numbers that are no spikes"):
        create_method("rate_m", timesteps=2).step(network, torch.rand(3, 2), torch.tensor([0, 1, 0]))


def test_a_rewritten_network_can_be_pickled_also_into_another_process(unusual, tmp_path):
    network, _ = make_spiking(nn.Sequential(nn.Linear(3, 3), unusual.Renamed()))
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0)) * 3
    expected, saved = network(x), [pickle.dumps(network, protocol) for protocol in (0, pickle.DEFAULT_PROTOCOL)]
    reset_state(network)
    for data in saved:
        same = pickle.loads(data)
        reset_state(same)
        assert torch.equal(same(x), expected)
        assert type(same[1]) is type(network[1])
    (tmp_path / "network.pickle").write_bytes(saved[-1])
    script = "import rbp_engine.spiking, pickle; print(pickle.load(open('network.pickle', 'rb')))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "(relu_neuron): LIF" in done.stdout


def test_a_rewritten_class_inside_a_function_is_refused_by_pickle(unusual):
    network, _ = make_spiking(unusual.made())
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"made\.<locals>\.Closed"):
        pickle.dumps(network)
