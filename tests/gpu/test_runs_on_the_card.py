"""Real runs on the GPU, and what concerns them: memory, NVML, out of memory, resume, several processes."""

import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.preset import load_preset
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Metrics, RunStart, System
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.queue.devices import has_card, read_cards
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.device import describe_device
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.optimisation import create_optimizer
from rbp_engine.train.ranks.distributed import ManyRanks, Ranks
from rbp_engine.train.step import OptimizerStep
from tests.stopping import stop
from tests.waiting import wait_for

NewRun = Callable[..., RunDirectory]


@pytest.fixture
def new_run(device: torch.device, tmp_path: Path) -> Iterator[NewRun]:
    """Make a run of a preset and words as on the command line, on this device; the test's end kills its processes."""
    made: list[RunDirectory] = []

    def make(preset: str, *words: str) -> RunDirectory:
        loaded = load_preset(preset, [f"run.device={device.type}", *words])
        made.append(launch.create(loaded, tmp_path / "runs"))
        return made[-1]

    yield make
    for run in made:
        processes.kill_all(run)


def events_of(run: RunDirectory, kind: type) -> list:
    return [event for event in read_events(run.events()) if isinstance(event.body, kind)]


def end(run: RunDirectory) -> Verdict:
    wait_for(lambda: not judge(run).live)
    return judge(run)


@pytest.mark.parametrize("kernel", ["eager", "compiled"])
def test_a_run_learns_and_records_its_device_memory_and_times(
    device: torch.device, new_run: NewRun, kernel: str
) -> None:
    run = new_run("digits", "epochs=8", f"train.kernel={kernel}")
    launch.start(run)
    verdict = end(run)
    assert verdict.status == "completed", (verdict, run.stderr().read_text()[-2000:])
    [start] = events_of(run, RunStart)
    assert start.body.device == describe_device(device)
    metrics = [event.body for event in events_of(run, Metrics)]
    assert metrics[-1].top1 > 0.8
    assert all(0.0 <= one.data_ms <= one.step_ms for one in metrics)
    assert all(event.body.mem_peak > 0 for event in events_of(run, System))


def test_a_stopped_run_continues_where_it_was(device: torch.device, new_run: NewRun) -> None:
    run = new_run("digits", "epochs=400")
    launch.start(run)
    wait_for(lambda: bool(events_of(run, Metrics)))
    assert stop(run).status == "stopped"
    found, skipped = checkpoint.find_newest(run.checkpoints)
    assert found is not None and not skipped and found.device == device.type
    launch.start(run)
    wait_for(lambda: len(events_of(run, RunStart)) == 2 and events_of(run, Metrics)[-1].step > found.progress.step)
    start = events_of(run, RunStart)[-1]
    assert (start.step, start.body.exact) == (found.progress.step, True)
    assert stop(run).status == "stopped"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_checkpoint_from_a_cpu_continues_on_this_device(device: torch.device, tmp_path: Path, optimizer: str) -> None:
    def trainer(where: torch.device) -> OptimizerStep:
        torch.manual_seed(0)
        model = create_model("convnet", num_classes=4, in_channels=1).to(where)
        state = State(model, create_method("rate_m", 2), create_optimizer(model, optimizer, lr=0.1))
        return OptimizerStep(state, Ranks())

    images, labels = torch.randn(4, 1, 8, 8), torch.arange(4)
    on_cpu, here = trainer(torch.device("cpu")), trainer(device)
    on_cpu(images, labels, 4)
    saved = checkpoint.save(tmp_path, on_cpu.state, Progress(1), {}, experiment="e")
    checkpoint.load(saved, here.state)
    losses = [
        float(step(images.to(where), labels.to(where), 4).loss) for step, where in ((on_cpu, "cpu"), (here, device))
    ]
    assert math.isclose(*losses, rel_tol=1e-2)


def test_a_network_that_does_not_fit_fails_with_advice(card: torch.device, new_run: NewRun) -> None:
    run = new_run(
        "cifar10-resnet18", "method=bptt", "T=16", "batch=24576", "data.name=fake", "data.auto_augment=false",
        "data.cutout=0", "data.args.train_size=24576", "train.kernel=eager",
    )  # fmt: skip
    launch.start(run)
    verdict = end(run)
    assert (verdict.status, verdict.cause) == ("failed", Cause.OUT_OF_MEMORY)
    assert verdict.reason.startswith("out of memory with bptt, T = 16, 24576 images a step")
    assert "method.name = rate_s" in verdict.reason


def test_the_gauge_reads_torchs_allocations(card: torch.device) -> None:
    held = torch.ones(2**20, device=card)
    memory = MemoryGauge(card).read()
    assert memory is not None
    assert held.nbytes <= memory.mem_allocated <= memory.mem_reserved
    assert memory.mem_allocated <= memory.mem_peak <= torch.cuda.get_device_properties(card).total_memory


def test_nvml_knows_the_card_that_torch_uses(card: torch.device) -> None:
    uuid = str(torch.cuda.get_device_properties(card).uuid)
    assert has_card()
    assert any(one.uuid.removeprefix("GPU-") == uuid.removeprefix("GPU-") for one in read_cards())
    memory = MemoryGauge(card).read()
    assert memory is not None
    assert memory.gpu_util is not None and 0.0 <= memory.gpu_util <= 1.0
    assert memory.power is None or memory.power > 0.0


@pytest.mark.parametrize("synchronised", [False, True], ids=["", "sync_bn"])
def test_a_process_in_a_group_has_the_gradients_of_a_single_process(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, synchronised: bool
) -> None:
    """Uses NCCL on a GPU."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    images, labels = torch.randn(8, 1, 16, 16, dtype=torch.float64).to(device), (torch.arange(8) % 4).to(device)

    def trained(ranks: Ranks) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model: nn.Module = create_model("convnet", num_classes=4, in_channels=1).double().to(device)
        if synchronised:
            ranks.synchronise_batch_norm(model)
        state = State(model, create_method("rate_m", 2), create_optimizer(model, "sgd", lr=0.1))
        step = OptimizerStep(state, ranks)
        step(images, labels, 8)
        return [parameter.grad.clone() for parameter in model.parameters()]

    ranks = ManyRanks(device)
    try:
        assert (ranks.rank, ranks.size) == (0, 1)
        assert ranks.largest(3) == [3]
        together = trained(ranks)
    finally:
        ranks.leave()
    for ours, alone in zip(together, trained(Ranks()), strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-9, atol=1e-12)
