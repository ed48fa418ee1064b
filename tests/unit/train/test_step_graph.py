"""When steps are replayed, compared and taken as without a graph: on a CPU, where a replay takes a real step again."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rbp_engine.methods import METHODS, StepOutput, create_method
from rbp_engine.preset import load_preset
from rbp_engine.spiking import LIF
from rbp_engine.train.graph.choice import choose_graph
from rbp_engine.train.graph.step_graph import COMPARED, Replay, StepGraph
from rbp_engine.train.optimisation import create_optimizer, load_optimizer, make_capturable, set_learning_rate
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.seeding import seed_everything
from rbp_engine.train.step import OptimizerStep
from tests.taken_again import TakenAgain, generators

T, B, CLASSES = 2, 8, 4
# Of batches: the last of an epoch is smaller.
SIZES = [B, B, B, B, B, B, 5] * 4


class Taken:
    """A network after some steps, with or without a graph: losses, and everything that goes into a checkpoint."""

    def __init__(
        self,
        graphs: TakenAgain | None,
        *,
        model: Callable[[], nn.Module] | None = None,
        method: str = "rate_m",
        optimizer: str = "sgd",
        precision: str = "fp32",
        sizes: list[int] = SIZES,
        ranks: Ranks | None = None,
        scale: float = 0.0,
        **settings: Any,
    ) -> None:
        seed_everything(0)
        self.model = (model or network)()
        self.warnings: list[str] = []
        self.told: list[str] = []
        self.step = OptimizerStep(
            self.model,
            create_method(method, T, precision=precision),
            create_optimizer(self.model, optimizer, lr=0.1),
            ranks or Ranks(),
            **settings,
        )
        if scale:
            self.step.scaler.load_state_dict(self.step.scaler.state_dict() | {"scale": scale})
        self.graph: StepGraph | None = None
        if graphs is None:
            make_capturable(self.step.optimizer)
        else:
            self.graph = StepGraph(self.step, graphs, warn=self.warnings.append, told=self.told.append)
        self.losses = [self._take(number, size) for number, size in enumerate(sizes)]

    def _take(self, number: int, size: int) -> Tensor:
        ranks = self.step.ranks
        draw = torch.Generator().manual_seed(100 * number + ranks.rank)
        images, labels = torch.randn(size, 1, 6, 6, generator=draw), torch.randint(CLASSES, (size,), generator=draw)
        set_learning_rate(self.step.optimizer, 0.1 * 0.97**number)
        return (self.graph or self.step)(images, labels, size * ranks.size).loss

    def everything(self) -> list[Any]:
        return [
            [loss.item() for loss in self.losses],
            {name: tensor.tolist() for name, tensor in self.step.state().items()},
            self.step.scaler.state_dict(),
            generators(),
        ]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), LIF(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, CLASSES)
    )


class Odd(nn.Module):
    """A network whose steps depend on what a graph does not see."""

    def __init__(self, oddity: str) -> None:
        super().__init__()
        self.network = network()
        self.oddity = oddity
        self.steps = 0
        self.register_buffer("level", torch.ones(()))
        self.seen = torch.ones(())

    def forward(self, x: Any) -> Any:
        self.steps += 1
        if self.oddity == "python's numbers":
            x = x * random.uniform(0.5, 1.5)
        elif self.oddity == "numpy's numbers":
            x = x * float(np.random.uniform(0.5, 1.5))
        elif self.oddity == "a counter":
            x = x * (1.0 + 0.1 * self.steps)
        elif self.oddity == "a late change":
            x = x * (1.0 if self.steps < 9 else 2.0)
        elif self.oddity == "a buffer replaced":
            self.level = self.level * 1.1
            x = x * self.level
        return self.network(x)


def the_same(ours: Taken, theirs: Taken) -> bool:
    return all(map(same, ours.everything(), theirs.everything()))


def same(ours: Any, theirs: Any) -> bool:
    """Equal, and NaN is equal to NaN."""
    return repr(ours) == repr(theirs)


@pytest.mark.parametrize("method", METHODS)
def test_replayed_steps_leave_what_steps_without_a_graph_leave(method: str) -> None:
    """The same bits: losses, weights, statistics, momenta, and all generators, with dropout and a rate that changes."""
    graphs = TakenAgain()
    replayed, plain = Taken(graphs, method=method), Taken(None, method=method)
    assert the_same(replayed, plain)
    assert replayed.warnings == [] and replayed.told == ["steps are replayed as a CUDA graph"]
    assert graphs.replays == SIZES.count(B) - TakenAgain.warm_up


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw", "clip_norm": 0.5, "accumulate": 2},
        {"precision": "bf16"},
        {"precision": "fp16", "optimizer": "adamw"},
        {"precision": "fp16", "clip_norm": 0.5, "accumulate": 3},
    ],
    ids=lambda settings: " ".join(f"{name}={value}" for name, value in settings.items()),
)
def test_so_do_those_with_other_optimizers_clipping_accumulation_and_a_loss_scale(settings: dict[str, Any]) -> None:
    graphs = TakenAgain()
    replayed, plain = Taken(graphs, **settings), Taken(None, **settings)
    assert the_same(replayed, plain)
    assert replayed.warnings == [] and graphs.replays > COMPARED


def test_a_step_that_fp16_skips_shows_nothing_and_the_next_is_compared_in_its_place() -> None:
    """The scale is too large for the first ten steps."""
    graphs = TakenAgain()
    settings = {"precision": "fp16", "scale": 2.0**32, "sizes": [B] * 30}
    replayed, plain = Taken(graphs, **settings), Taken(None, **settings)
    assert plain.step.scaler.get_scale() < 2.0**25
    assert the_same(replayed, plain)
    assert replayed.warnings == [] and replayed.told


def test_the_first_replays_are_compared_and_then_those_whose_number_is_a_power_of_two() -> None:
    graphs = TakenAgain()
    taken = Taken(graphs, model=lambda: Odd(""), sizes=[B] * (TakenAgain.warm_up + 20))
    # Replays leave no trace in the module's counter.
    counted = taken.model.steps - TakenAgain.warm_up
    assert (graphs.replays, counted) == (20, len([1, 2, 3, 4, 8, 16]))


@pytest.mark.parametrize("oddity", ["python's numbers", "numpy's numbers", "a counter", "a late change"])
def test_a_step_that_depends_on_the_host_is_found_and_trains_on_as_without_a_graph(oddity: str) -> None:
    settings: dict[str, Any] = {"model": lambda: Odd(oddity), "sizes": [B] * 20}
    replayed, plain = Taken(TakenAgain(), **settings), Taken(None, **settings)
    [warning] = replayed.warnings
    assert warning.startswith(
        'train.cuda_graph: steps are not replayed, and run as with "off": a replay was not the step'
    )
    assert " differs by " in warning
    assert replayed.graph is not None and not replayed.graph.replaying
    if oddity != "a late change":  # which has been replayed some steps too long
        assert the_same(replayed, plain)


def test_a_buffer_that_is_replaced_is_named_and_nothing_is_lost() -> None:
    settings: dict[str, Any] = {"model": lambda: Odd("a buffer replaced"), "sizes": [B] * 12}
    replayed, plain = Taken(TakenAgain(), **settings), Taken(None, **settings)
    [warning] = replayed.warnings
    assert warning.endswith("it replaces the buffer level, which it must change in place (copy_)")
    assert the_same(replayed, plain)


class Faulty(TakenAgain):
    """Replays with a fault that a recording could have."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def rehearse(self, take: Callable[[], StepOutput]) -> tuple[StepOutput, str]:
        return take(), "it waits for the card, in nets.py:7" if self.fault == "waits" else ""

    def record(self, step: OptimizerStep, images: Tensor, labels: Tensor, total: int) -> Replay:
        replay = super().record(step, images, labels, total)
        rates = [group["lr"].clone() for group in step.optimizer.param_groups]
        if self.fault == "breaks off":
            random.random(), torch.rand(3)
            if step.scaler.is_enabled():
                parameter = next(step.trained.parameters())
                step.scaler.scale(parameter.sum()).backward()
                step.scaler.unscale_(step.optimizer)
                step.optimizer.grad_scale = torch.ones(())
            raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")

        def faulty(new_images: Tensor, new_labels: Tensor) -> StepOutput:
            if self.fault == "old images":
                return replay(images, new_labels)
            if self.fault == "old dropout":
                torch.manual_seed(7)
            todays = [group["lr"] for group in step.optimizer.param_groups]
            if self.fault == "an old rate":
                for group, rate in zip(step.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate
            out = replay(new_images, new_labels)
            for group, rate in zip(step.optimizer.param_groups, todays, strict=True):
                group["lr"] = rate
            if self.fault == "another loss":
                return StepOutput(out.loss * 1.5, out.logits)
            if self.fault == "no gradient":
                step.trained[0].weight.grad.zero_()
            return out

        return faulty


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("waits", "it waits for the card, in nets.py:7"),
        ("breaks off", "recording one failed: RuntimeError: operation not permitted when stream is capturing"),
        ("old images", "the loss differs by"),
        ("old dropout", "the loss differs by"),
        ("another loss", "the loss differs by 50 %"),
        ("no gradient", "the gradient of 0.weight differs by 1e+02 %"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_fault_of_a_recording_is_told_once_and_the_steps_that_count_are_those_without_it(
    fault: str, told: str, precision: str
) -> None:
    replayed, plain = Taken(Faulty(fault), precision=precision), Taken(None, precision=precision)
    [warning] = replayed.warnings
    assert told in warning and "\n" not in warning
    assert the_same(replayed, plain)


def test_a_rate_that_was_recorded_as_a_number_shows_in_the_weights() -> None:
    [warning] = Taken(Faulty("an old rate")).warnings
    assert "the new 0.weight differs by" in warning


@pytest.mark.parametrize("faulty_rank", [None, 1], ids=["sound", "a fault on one"])
def test_several_processes_replay_together_and_stop_together(two_ranks: Any, faulty_rank: int | None) -> None:
    def train(ranks: Ranks) -> tuple[bool, list[str], int]:
        graphs = Faulty("another loss") if ranks.rank == faulty_rank else TakenAgain()
        settings: dict[str, Any] = {"ranks": ranks, "sizes": [B] * 9}
        replayed = Taken(graphs, **settings)
        return the_same(replayed, Taken(None, **settings)), replayed.warnings, graphs.replays

    found = two_ranks(train)
    assert [equal for equal, _, _ in found] == [True, True]
    replays = [number for _, _, number in found]
    if faulty_rank is None:
        assert [warnings for _, warnings, _ in found] == [[], []] and replays == [6, 6]
    else:
        assert replays == [1, 1]
        [of_other], [own] = (warnings for _, warnings, _ in found)
        assert "another process cannot replay them" in of_other and "the loss differs by 50 %" in own


def choice(*overrides: str, device: str = "cpu") -> tuple[bool, list[str]]:
    return choose_graph(load_preset("digits", list(overrides)).preset, torch.device(device), 1)


def test_a_graph_is_off_unless_asked_for_and_on_a_cpu_on_tells_why_and_auto_does_not() -> None:
    assert choice() == choice(device="cuda") == (False, [])
    assert choice("train.cuda_graph=auto") == (False, [])
    on, [warning] = choice("train.cuda_graph=on")
    assert not on and warning.endswith("a CUDA graph needs an NVIDIA card, and this run is on the cpu")


def test_a_tensor_rate_has_the_value_that_is_set() -> None:
    taken = Taken(None, sizes=[B])
    set_learning_rate(taken.step.optimizer, 0.25)
    rates = [group["lr"] for group in taken.step.optimizer.param_groups]
    assert len(rates) == 2 and all(isinstance(rate, Tensor) and math.isclose(rate, 0.25) for rate in rates)


def test_an_optimizer_whose_steps_were_recorded_goes_on_without_a_graph() -> None:
    recorded, other = Taken(None, optimizer="adam", sizes=[B]), create_optimizer(network(), "adam", lr=0.5)
    load_optimizer(other, recorded.step.optimizer.state_dict())
    assert [(type(group["lr"]), group["capturable"]) for group in other.param_groups] == [(float, False)] * 2
    assert all(math.isclose(group["lr"], 0.1, rel_tol=1e-6) for group in other.param_groups)
