"""The layers of a preset's network, with the shapes of their outputs and their parameters. Without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbp_engine.bench.measure.measurement import ask, temporary_run
from rbp_engine.preset.own_code import digests

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset

COUNT = "rbp_engine.bench.count_layers"


@dataclass(frozen=True)
class Layer:
    """A module of a network: its path, class, the shape of its output for one image, and its own parameters.

    `shape` is empty for a module that was not called. A parameter of several modules counts for the first.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Network:
    """The layers in the order of their calls; `input` is the shape [C, H, W] of an image."""

    input: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """The number of parameters in all."""
        return sum(layer.parameters for layer in self.layers)


def count_layers(loaded: "LoadedPreset", *, cancelled: Callable[[], bool] = lambda: False) -> Network:
    """Run one image through a preset's network, in a separate process, and list its layers.

    `cancelled` is polled for whether to give up. Raises ChildError, also if it gave up.
    """
    with temporary_run(loaded) as run:
        answer = ask(COUNT, run, cancelled=cancelled, quiet=True)
    layers = (
        Layer(layer["name"], layer["kind"], tuple(layer["shape"]), layer["parameters"]) for layer in answer["layers"]
    )
    return Network(tuple(answer["input"]), tuple(layers))


def same_network(loaded: "LoadedPreset") -> tuple[str, ...]:
    """A key that presets with the same layers share: network, its arguments, what images it gets, and own code."""
    data, model = loaded.preset.data, loaded.preset.model
    code = sorted(digests(loaded.own_code).items())
    return model.name, repr(model.args), data.name, repr(data.args), repr(data.size), repr(code)
