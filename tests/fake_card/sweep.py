"""Steps and predictions on a fake GPU: `python sweep.py usual|whole` prints a JSON object.

The library built from `fake_device.cpp` has to be loaded already, by LD_PRELOAD.
"""

import copy
import itertools
import json
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fake_card import CARD, Account, accounted, put_on_card
from torch import distributed, nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from rbp_engine.methods import METHODS, SelfDistillation, WithBranches, create_method
from rbp_engine.models import MODELS, create_model
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import FidelityProbe
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.spiking.layers.layout import constant
from rbp_engine.spiking.synchronised_batch_norm import synchronise_batch_norm
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.optimisation import add_branches, create_optimizer, set_learning_rate
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.ranks.process import RankProcess
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.recorder import Recorder
from rbp_engine.train.step import OptimizerStep

# Of the transformers the smallest size: the others are the same code.
LARGE = ("ms_resnet", "max", "sdt")
NETWORKS = [
    network
    for network in MODELS
    if network.endswith(("_digits", "_3_96")) or not ("former" in network or network.startswith(LARGE))
]
BATCH, CLASSES = 2, 10
# Channels and size of the images; 3 and 32 for the other networks.
IMAGES = {
    "convnet": (1, 8),
    "vggsnn_dvs": (2, 48),
    "spikformer_digits": (1, 8),
    "qkformer_digits": (1, 8),
}


@dataclass(frozen=True)
class Case:
    """A training step and a prediction; `in_loop` adds two steps with all that the training loop does around them."""

    network: str
    method: str
    timesteps: int = 2
    precision: str = "fp32"
    events: bool = False
    reset: str = "soft"
    optimizer: str = "sgd"
    accumulate: int = 1
    clip_norm: float = 0.0
    synchronised: bool = False
    probed: bool = False
    branches: bool = False
    in_loop: bool = False
    planted: str = ""


# Each of the other networks takes steps of two methods, so three networks cover all of them.
PAIRS = (("bptt", "rate_s"), ("rate_m", "sltt"), ("bptt_s", "ottt"))

# Two methods have the steps of each in the training loop.
OPTIMIZERS = (("sgd", "fp32"), ("adam", "bf16"), ("adamw", "fp16"))


def usual():
    """The small network in many variants, ResNet-18 as its launches are counted, the others with two methods each."""
    for method in METHODS:
        for precision, events in itertools.product(("fp32", "bf16", "fp16"), (False, True)):
            yield Case("convnet", method, precision=precision, events=events)
        yield Case("convnet", method, reset="hard", optimizer="adamw", precision="fp16", accumulate=2, clip_norm=1.0)
        yield Case("convnet", method, synchronised=True)
        yield Case("convnet", method, probed=True, precision="fp16")
        if method in ("rate_m", "rate_s", "bptt"):
            yield Case("convnet", method, branches=True, precision="fp16")
        yield Case("convnet", method, probed=True, synchronised=True)
        yield Case("resnet18", method, timesteps=4)
    for method, (optimizer, precision) in zip(METHODS, itertools.cycle(OPTIMIZERS), strict=False):
        how = {"optimizer": optimizer, "precision": precision, "accumulate": 2, "clip_norm": 1.0}
        yield Case("convnet", method, **how, in_loop=True)
    others = [network for network in NETWORKS if network not in ("convnet", "resnet18")]
    for network, methods in zip(others, itertools.cycle(PAIRS), strict=False):
        yield from (Case(network, method, timesteps=1) for method in methods)


def whole():
    """The usual cases, and every network with every method, precision and kind of input."""
    yield from usual()
    for network, method, precision in itertools.product(NETWORKS, METHODS, ("fp32", "bf16", "fp16")):
        yield from (Case(network, method, precision=precision, events=events) for events in (False, True))


def planted():
    """Steps with a planted fault, which must be found."""
    for fault in Planted.faults:
        yield Case("convnet", "rate_m", planted=fault)


class Planted(nn.Module):
    """A network that does something wrong in each step."""

    faults = ("item", "mask", "copy", "backward", "cpu tensor")

    def __init__(self, fault, network):
        super().__init__()
        self.fault = fault
        self.network = network

    def forward(self, x):
        weight = next(self.network.parameters())
        value = weight.detach().flatten()[:3]
        if self.fault == "item":
            value.sum().item()
        elif self.fault == "mask":
            value[value > 0]
        elif self.fault == "copy":
            torch.arange(3.0).to(value.device)
        elif self.fault == "backward":
            weight.register_hook(lambda gradient: gradient * gradient.new_tensor([2]))
        else:
            value + torch.arange(3.0)
        return self.network(x)


def examine(case, model):
    """What a step and a prediction make the GPU do; `problem` if one of them fails."""
    account, problem, launches = Account(), "", {}
    # It asks a surrogate for its peak, which a fake tensor does not know.
    health = HealthProbe(neuron_layers(model), weight_layers(model), 1) if case.probed else None
    constant.cache_clear()  # a fake tensor belongs to the mode that it was made in
    try:
        with accounted() as account:
            model = _prepared(case, model)
            step = _step(case, model)
            images, labels = _batch(case)
            fidelity = FidelityProbe(model, step.state.method, (images, labels), 1)
            probes = Probes() if health is None else _probes(health, fidelity, step)
            with probes.watch(1):
                step(images, labels, BATCH)
            probes.measure(1)
            if case.in_loop:
                _take_in_loop(step, images, labels)
            # What it has measured cannot be read on a fake card; why it could not measure can.
            failed = fidelity.take() if fidelity._failed else []
            problem = "".join(event.message for _, event in failed if isinstance(event, WarningRaised))
            launches["train"] = account.launches
            if case.method == "rate_m":  # all methods predict in the same way
                step.state.method.predict(model, images)
                launches["predict"] = account.launches - launches["train"]
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    return asdict(case) | {"launches": launches, "waits": account.waits, "problem": problem}


def _prepared(case, model):
    if case.synchronised:
        synchronise_batch_norm(model, distributed.group.WORLD)
    if case.planted:
        model = Planted(case.planted, model)
    put_on_card(model)
    return model


def _step(case, model):
    optimizer = create_optimizer(model, case.optimizer, lr=0.1)
    branches = _branches(model) if case.branches else None
    if branches is not None:
        add_branches(optimizer, branches.branches)
    method = create_method(case.method, case.timesteps, precision=case.precision)
    state = State(model, method, optimizer, branches=branches, ema=0.9 if case.in_loop else 0.0)
    return OptimizerStep(state, Ranks(), accumulate=case.accumulate, clip_norm=case.clip_norm)


def _take_in_loop(step, images, labels):
    """Steps as of `trainer.train`, between two drains: a moving average, the recorder."""
    average = step.state.average
    assert average is not None
    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        run = RunDirectory(Path(folder))
        journal = Journal(run, Summary("job", "p", "e", "rate_m", 2, 1, epochs=1), 1, RankProcess(run.ranks, 0, 0, 1))
        recorder = Recorder(journal, MemoryGauge(torch.device("cpu")), None, 10, Ranks(), Probes())
        try:
            for number in (1, 2):
                set_learning_rate(step.state.optimizer, 0.1 / number)
                out = step(images, labels, BATCH)
                average.update(number, step.guard.skipping)
                recorder.step(Progress(number), out, labels, 0.1)
        finally:
            journal.end("failed", "")


def _branches(model):
    """The small network with branches on its first two neuron layers."""
    with torch.device("meta"):
        found = WithBranches(model, {"2": (32, 8, 8), "6": (64, 4, 4)}, CLASSES, SelfDistillation())
    put_on_card(found.branches)
    return found


def _probes(health, fidelity, step):
    health._weights = list(weight_layers(step.state.model).values())  # those on the card
    return Probes([SpikeWatch(neuron_layers(step.state.model), step.state.method.timesteps, 1), health, fidelity])


def _batch(case):
    channels, size = IMAGES.get(case.network, (3, 32))
    time = (case.timesteps,) if case.events else ()
    images = torch.empty((*time, BATCH, channels, size, size), device=CARD)
    return images, torch.empty(BATCH, dtype=torch.int64, device=CARD)


def main(which):
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    cases = [*(whole() if which == "whole" else usual()), *planted()]
    results, models, took = [], {}, {}
    for case in cases:
        key = (case.network, case.reset)
        if key not in models:
            channels, _ = IMAGES.get(case.network, (3, 32))
            # The initial weights do not matter, and drawing them takes seconds.
            with torch.device("meta"):
                models[key] = create_model(case.network, num_classes=CLASSES, in_channels=channels, reset=case.reset)
        started = time.perf_counter()
        results.append(examine(case, copy.deepcopy(models[key])))
        took[case.network] = took.get(case.network, 0.0) + time.perf_counter() - started
    json.dump({"results": results, "seconds": took}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
