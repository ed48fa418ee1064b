"""List the layers of a run's network: `python -m rbp_engine.bench.count_layers RUN`, JSON on stdout.

One image passes through the network with its initial weights, as in an evaluation of one timestep. The data need not
be here: random images stand in for all sets but a user's own.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn

from rbp_engine.bench.inspection import built
from rbp_engine.bench.measure import stand_in
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.child import Progress
from rbp_engine.data.known_shape import known_shape
from rbp_engine.preset import read_resolved
from rbp_engine.preset.schema import Preset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.train.build import build_feed

CPU = torch.device("cpu")


def look(run: RunDirectory, say: Progress) -> dict[str, Any]:
    """The shape of an image, and for each layer its name, kind, shape and number of parameters."""
    say("counting layers", 0.0)
    preset = _small(read_resolved(run.preset_toml))
    feed = build_feed(run, stand_in.with_stand_in(preset, known_shape(preset.data)), CPU)
    images, _ = next(iter(feed.train.epoch(0)))
    image = images[0, :1] if feed.has_time else images[:1]
    return {
        "input": list(image.shape[1:]),
        "layers": layers_of(built(run, preset, feed, CPU).eval(), image.float()),
    }


@torch.no_grad()
def layers_of(model: nn.Module, images: Tensor) -> list[dict[str, Any]]:
    """The modules that have no others inside or have parameters of their own: those called first, then the rest."""
    shapes: dict[nn.Module, list[int]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, (Tensor, Carrier)):
            shapes.setdefault(module, list(output.shape)[1:])

    names: dict[nn.Module, str] = {}
    for name, module in _layers(model):
        names.setdefault(module, name)
    handles = [module.register_forward_hook(note) for module in names]
    # Not plain tensors: a neuron that is called twice would take the second input for its next timestep.
    model(SequenceTensor(images, 1, static=True))
    for handle in handles:
        handle.remove()
    counted: set[nn.Parameter] = set()
    found = []
    for module in [*shapes, *(module for module in names if module not in shapes)]:
        own = set(module.parameters(recurse=False)) - counted
        counted |= own
        count = sum(parameter.numel() for parameter in own)
        if module in shapes or count:
            kind = type(module).__name__
            found.append(
                {"name": names[module] or kind, "kind": kind, "shape": shapes.get(module, []), "parameters": count}
            )
    return found


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    inside = () if isinstance(module, MemoryModule) else tuple(module.named_children())  # a neuron is one layer
    if not inside or any(True for _ in module.parameters(recurse=False)):
        yield name, module
    for child, inner in inside:
        yield from _layers(inner, f"{name}.{child}" if name else child)


def _small(preset: Preset) -> Preset:
    """The preset with batches of one image, one timestep, and nothing compiled."""
    data = preset.data.model_copy(update={"batch_size": 1, "workers": 0})
    train = preset.train.model_copy(update={"kernel": "eager"})
    return preset.model_copy(update={"data": data, "train": train})


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), look))
