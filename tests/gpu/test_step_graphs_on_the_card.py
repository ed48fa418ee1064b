"""Steps that are replayed as a CUDA graph: what they train, and what ends the replaying."""

import math
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.methods import METHODS, StepOutput, create_method
from rbp_engine.spiking import LIF
from rbp_engine.spiking.kernels import compiler
from rbp_engine.train.graph.cuda_graphs import CudaGraphs
from rbp_engine.train.graph.step_graph import StepGraph
from rbp_engine.train.optimisation import create_optimizer, make_capturable, set_learning_rate
from rbp_engine.train.ranks.distributed import ManyRanks, Ranks
from rbp_engine.train.step import OptimizerStep

T, B, CLASSES = 4, 16, 10
SIZES = [B] * 8 + [5] + [B] * 8 + [5]  # the last batch of an epoch is smaller


@pytest.fixture
def own_stream(card: torch.device) -> Iterator[torch.device]:
    """The card, on a stream of its own; kernels add in one order, so that steps can be compared bit by bit."""
    with torch.cuda.stream(torch.cuda.Stream(card)), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        yield card


class Network(nn.Module):
    """A network with dropout, whose steps do something odd on the host."""

    def __init__(self, oddity: str = "", kernel: str = "eager") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), LIF(kernel=kernel), nn.Dropout(0.2),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), LIF(kernel=kernel), nn.Flatten(),
            nn.Linear(16 * 64, CLASSES),
        )  # fmt: skip
        self.oddity = oddity
        self.steps = 0

    def forward(self, x: Any) -> Any:
        self.steps += 1
        if self.oddity == "waits":
            next(self.parameters()).sum().item()
        logits = self.layers(x)
        if self.oddity == "counts":
            logits = logits * (1.0 + 0.1 * self.steps)
        if self.oddity == "draws":
            logits = logits * random.uniform(0.5, 1.5)
        return logits


class Taken:
    """A network after some steps."""

    def __init__(
        self,
        card: torch.device,
        graphs: CudaGraphs | None,
        make: Callable[[], nn.Module] = Network,
        *,
        method: str = "rate_m",
        precision: str = "fp32",
        optimizer: str = "sgd",
        ranks: Ranks | None = None,
        **settings: Any,
    ) -> None:
        torch.manual_seed(0)
        random.seed(0)
        self.warnings: list[str] = []
        model = make().to(card)
        self.step = OptimizerStep(
            model,
            create_method(method, T, precision=precision),
            create_optimizer(model, optimizer, lr=0.05),
            ranks or Ranks(),
            **settings,
        )
        self.graph = None
        if graphs is None:
            make_capturable(self.step.optimizer)
        else:
            self.graph = StepGraph(self.step, graphs, warn=self.warnings.append)
        self.card = card
        self.losses = [float(self.take(number, size).loss) for number, size in enumerate(SIZES)]

    def take(self, number: int, size: int) -> StepOutput:
        draw = torch.Generator().manual_seed(number)
        images, labels = torch.randn(size, 3, 8, 8, generator=draw), torch.randint(CLASSES, (size,), generator=draw)
        set_learning_rate(self.step.optimizer, 0.05 * 0.95**number)
        return (self.graph or self.step)(images.to(self.card), labels.to(self.card), size)

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.cpu() for name, tensor in self.step.state().items()}


def check_equal(replayed: Taken, plain: Taken) -> None:
    assert torch.equal(torch.cuda.get_rng_state(replayed.card), torch.cuda.get_rng_state(plain.card))
    assert all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(replayed.losses, plain.losses, strict=True))
    theirs = plain.state()
    for name, ours in replayed.state().items():
        assert torch.allclose(ours.double(), theirs[name].double(), rtol=1e-3, atol=1e-5), name
    assert replayed.step.scaler.state_dict() == plain.step.scaler.state_dict()


@pytest.mark.parametrize(
    ("precision", "kernel"), [("fp32", "eager"), ("bf16", "eager"), ("fp16", "eager"), ("fp32", "compiled")]
)
@pytest.mark.parametrize("method", METHODS)
def test_replayed_steps_train_what_steps_without_a_graph_train(
    own_stream: torch.device, method: str, precision: str, kernel: str
) -> None:
    """With dropout, another rate in each step, and smaller batches between."""
    if kernel == "compiled" and (problem := compiler.problem("cuda")):
        pytest.skip(f"torch.compile does not work here: {problem}")
    make = lambda: Network(kernel=kernel)  # noqa: E731
    replayed = Taken(own_stream, CudaGraphs(own_stream), make, method=method, precision=precision)
    assert replayed.warnings == [] and replayed.graph is not None and replayed.graph.replaying
    check_equal(replayed, Taken(own_stream, None, make, method=method, precision=precision))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_so_they_do_with_clipping_and_accumulation(own_stream: torch.device, optimizer: str, precision: str) -> None:
    settings = {"optimizer": optimizer, "precision": precision, "clip_norm": 0.5, "accumulate": 2}
    replayed = Taken(own_stream, CudaGraphs(own_stream), **settings)
    assert replayed.warnings == [] and replayed.graph is not None and replayed.graph.replaying
    check_equal(replayed, Taken(own_stream, None, **settings))


def test_a_replay_does_not_wait_for_the_card(own_stream: torch.device) -> None:
    replayed = Taken(own_stream, CudaGraphs(own_stream))
    assert replayed.graph is not None and replayed.graph.replaying
    images, labels = torch.randn(B, 3, 8, 8, device=own_stream), torch.arange(B, device=own_stream) % CLASSES
    while (replayed.graph._replays + 1).bit_count() == 1:  # the next is compared, and waits
        replayed.graph(images, labels, B)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        replayed.graph(images, labels, B)
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Unrehearsed(CudaGraphs):
    """Does not notice beforehand what cannot be recorded."""

    def rehearse(self, take: Callable[[], StepOutput]) -> tuple[StepOutput, str]:
        return take(), ""


@pytest.mark.parametrize(
    ("oddity", "graphs", "told"),
    [
        ("waits", CudaGraphs, "it waits for the card, in test_step_graphs_on_the_card.py"),
        ("waits", Unrehearsed, "recording one failed"),
        ("counts", CudaGraphs, "differs by"),
        ("draws", CudaGraphs, "differs by"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_that_a_graph_cannot_hold_is_told_of_once_and_trained_without_it(
    own_stream: torch.device, oddity: str, graphs: type[CudaGraphs], told: str, precision: str
) -> None:
    make = lambda: Network(oddity)  # noqa: E731
    replayed = Taken(own_stream, graphs(own_stream), make, precision=precision)
    [warning] = replayed.warnings
    assert told in warning
    assert all(map(math.isfinite, replayed.losses))
    if oddity != "counts":  # recording has counted one step more
        check_equal(replayed, Taken(own_stream, None, make, precision=precision))


def test_without_a_stream_of_its_own_a_step_is_not_recorded(card: torch.device) -> None:
    [warning] = Taken(card, CudaGraphs(card)).warnings
    assert "non-default stream" in warning


def test_the_exchange_of_gradients_is_recorded_too(own_stream: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL in a group of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    ranks = ManyRanks(own_stream)
    try:
        replayed = Taken(own_stream, CudaGraphs(own_stream, several=True), ranks=ranks)
    finally:
        ranks.leave()
    assert replayed.warnings == [] and replayed.graph is not None and replayed.graph.replaying
    check_equal(replayed, Taken(own_stream, None))
