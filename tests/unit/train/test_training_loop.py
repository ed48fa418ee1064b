"""The training loop in this process, on a few images, with the journal, recorder and checkpoints of a real run."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rbp_engine.data.loading.memory import MemorySource
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import EvaluationBatches
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.splits import DataSplits, Images
from rbp_engine.guard.early_stop import EarlyStop
from rbp_engine.methods import SelfDistillation, WithBranches, create_method, with_branches
from rbp_engine.models import create_model
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.preset.sections.training import OptimSection
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import FidelityProbe
from rbp_engine.probes.layers import neuron_layers
from rbp_engine.probes.step_probe import Probes, StepProbe
from rbp_engine.run.files import events
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.status.status import LOST_AFTER_S
from rbp_engine.run.writer import EventWriter
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.checkpointer import Checkpointer
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.errors import NonFiniteLoss
from rbp_engine.train.limits import Limits, worked_s
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.optimisation import add_branches, create_optimizer
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.ranks.process import RankProcess
from rbp_engine.train.ranks.seeding import seed_everything
from rbp_engine.train.ranks.signals import OUT_OF_BUDGET, StopFlag
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.recorder import Recorder
from rbp_engine.train.record.tensorboard import TensorBoardLog
from rbp_engine.train.schedule import Schedule
from rbp_engine.train.score_sums import ScoreSums
from rbp_engine.train.step import OptimizerStep
from rbp_engine.train.trainer import train

CPU = torch.device("cpu")
STEPS = 4  # per epoch
AUGMENTED = DataSection(name="fake", crop_padding=1)


def evaluation(data: DataSplits, **cut: int) -> EvaluationBatches:
    return MemorySource(data.test, Pixels(data.mean, data.deviation), CPU, AUGMENTED).evaluation(Cut(**cut))


class Interrupted(EvaluationBatches):
    """Calls `happen` before the last batch of the evaluation with this number, counted from 1."""

    def __init__(self, data: DataSplits, number: int, happen: Callable[[], None]) -> None:
        vars(self).update(vars(evaluation(data, batch_size=6)))
        self.left = number
        self.happen = happen

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        *batches, last = super().__iter__()
        yield from batches
        self.left -= 1
        if self.left == 0:
            self.happen()
        yield last


class Spoiled:
    """A method whose images become NaN at some step, and with them this rank's loss, gradients and statistics."""

    def __init__(self, method: Any, first: int) -> None:
        self.method = method
        self.left = first

    def step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float, **how: Any) -> Any:
        self.left -= 1
        return self.method.step(model, images * float("nan") if self.left <= 0 else images, labels, weight, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)


class Attempt:
    """One attempt of a run of 16 images in batches of 4, as the worker sets it up."""

    def __init__(self, run: RunDirectory, number: int, ranks: Ranks | None = None, **settings: Any) -> None:
        settings = {
            "epochs": 3, "every": ("epochs", 1), "log_every": 2, "validation": None, "lr": 0.1, "schedule": None,
            "spoil": 0, "precision": "fp32", "gradients": 0, "ema": 0.0, "branches": [], "limits": None,
            "compiles": False,
        } | settings  # fmt: skip
        self.run = run
        self.ranks = ranks = ranks or Ranks()
        self.settings = settings
        seed_everything(1)
        draw = torch.Generator().manual_seed(0)
        images = Images(torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=draw), torch.arange(16) % 4)
        data = DataSplits(images, images, 4, (0.5,), (0.25,))
        self.data = data
        self.stop = StopFlag(run)
        self.model: nn.Module = create_model("convnet", num_classes=4, in_channels=1)
        self.optimizer = create_optimizer(self.model, "sgd", lr=0.1)
        branches: WithBranches | None = None
        if settings["branches"]:
            seen = NormalisePixels(data.mean, data.deviation, CPU)(images.pixels[:4])
            branches = with_branches(self.model, settings["branches"], SelfDistillation(), seen)
            add_branches(self.optimizer, branches.branches)
        summary = Summary("job", "p", "e", "rate_m", 2, 1, epochs=settings["epochs"])
        self.journal = Journal(run, summary, number, RankProcess(run.ranks, ranks.rank, ranks.rank, ranks.size))
        method: Any = create_method("rate_m", 2, precision=settings["precision"])
        found: list[StepProbe] = [SpikeWatch(neuron_layers(self.model), 2, settings["log_every"])]
        if settings["gradients"] and ranks.rank == 0:
            batch = NormalisePixels(data.mean, data.deviation, CPU)(images.pixels[:4]), images.labels[:4]
            found.append(FidelityProbe(self.model, method, batch, settings["gradients"]))
        board = TensorBoardLog(run.tensorboard, 1)
        self.limits: Limits = settings["limits"](ranks) if settings["limits"] else Limits()
        more = {"compiles": settings["compiles"], "early_stop": self.limits.early_stop}
        self.recorder = Recorder(
            self.journal, MemoryGauge(CPU), board, settings["log_every"], ranks, Probes(found), **more
        )
        if settings["spoil"]:
            method = Spoiled(method, settings["spoil"])
        self.state = State(self.model, method, self.optimizer, branches=branches, ema=settings["ema"])
        self.step = OptimizerStep(self.state, ranks)
        self.checkpointer = Checkpointer(
            run, self.state, self.recorder, every=settings["every"], experiment="e", ranks=ranks
        )

    def go(self) -> str:
        found, skipped = self.ranks.from_first(lambda: checkpoint.find_newest(self.run.checkpoints))
        assert skipped == []
        at = found.progress if found else Progress()
        reached = events.ReachedSoFar()
        if found:
            reached = self.recorder.restore(checkpoint.load(found, self.state, self.ranks.rank))
        told = {"epochs": self.settings["epochs"], "steps_per_epoch": STEPS, "reached": reached}
        start = events.RunStart(resumed_from=found.path.name if found else None, epoch=at.epoch, **told)
        self.journal.write(start, at.step)
        pixels = Pixels(self.data.mean, self.data.deviation)
        share = {"rank": self.ranks.rank, "world_size": self.ranks.size}
        try:
            batches = MemorySource(self.data.train, pixels, CPU, AUGMENTED).training(Cut(batch_size=4, seed=1, **share))
            validation = self.settings["validation"] or evaluation(self.data, batch_size=6, **share)
            schedule = self.settings["schedule"] or (lambda now: self.settings["lr"])
            how = {"epochs": self.settings["epochs"], "at": at, "limits": self.limits}
            return train(self.step, batches, validation, schedule, self.recorder, self.checkpointer, self.stop, **how)
        finally:
            self.journal.end("failed", "")  # ends the heartbeat


def new_run(folder: Path) -> RunDirectory:
    run = RunDirectory(folder)
    run.control.mkdir(parents=True)
    return run


@pytest.fixture(autouse=True)
def signals_as_before():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def events_of(run: RunDirectory, kind: Any) -> list[events.Event]:
    return [event for event in read_events(run.events()) if isinstance(event.body, kind)]


def story(run: RunDirectory) -> list[tuple[Any, ...]]:
    """Steps and evaluations without timings."""
    found: list[tuple[Any, ...]] = []
    for event in read_events(run.events()):
        if isinstance(event.body, events.Metrics):
            found.append(("metrics", event.step, event.body.epoch, event.body.loss, event.body.top1))
        elif isinstance(event.body, events.Validation):
            found.append(("validation", event.step, *vars(event.body).values()))
    return found


def weights(attempt: Attempt) -> list[Tensor]:
    return [tensor.clone() for tensor in attempt.model.state_dict().values()]


def same(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> bool:
    """To the last bit."""
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Story and weights of an uninterrupted run."""
    attempt = uninterrupted(tmp_path_factory.mktemp("whole") / "job")
    return story(attempt.run), weights(attempt)


def test_steps_evaluations_and_checkpoints_are_recorded_in_order_and_synced_before_the_checkpoint(run, disk_order):
    assert Attempt(run, 1).go() == "completed"
    told = events_of(run, (events.Metrics, events.Validation, events.CheckpointSaved))
    epoch = [(events.Metrics, 2), (events.Metrics, 4), (events.Validation, 4), (events.CheckpointSaved, 4)]
    assert [(type(one.body), one.step) for one in told] == [(kind, at + 4 * n) for n in range(3) for kind, at in epoch]
    saves = [f"step-{step:08}.tmp -> step-{step:08}" for step in (4, 8, 12)]
    notable = [done for done in disk_order if done == "sync rank0.jsonl" or done in saves]
    assert notable == [done for save in saves for done in ("sync rank0.jsonl", save)]


@pytest.mark.parametrize(("log_every", "steps"), [(5, [5, 10]), (50, [12])])
def test_a_run_shorter_than_log_every_records_all_its_steps(run, log_every, steps):
    attempt = Attempt(run, 1, log_every=log_every)
    assert attempt.go() == "completed"
    assert [event.step for event in events_of(run, events.Metrics)] == steps


def test_the_summary_says_what_the_worker_is_doing(run):
    def phase() -> str:
        return read_summary(run).phase

    seen = []
    attempt = Attempt(run, 1, compiles=True)
    attempt.settings["validation"] = Interrupted(attempt.data, 1, lambda: seen.append(phase()))
    step = attempt.state.method.step
    attempt.state.method.step = lambda *given, **how: (seen.append(phase()), step(*given, **how))[1]
    assert attempt.go() == "completed"
    assert seen[0] == "compiling"
    assert seen[STEPS : STEPS + 2] == ["evaluating", "training"]
    assert phase() == ""


@pytest.mark.parametrize("name", ["SIGUSR2", "control/stop"])
def test_a_stop_during_an_evaluation_saves_before_it_and_it_is_recorded_once(run, whole, name):
    """The second attempt is then killed between the evaluation and the checkpoint that would contain it."""
    first = Attempt(run, 1)
    first.stop.install()

    def stop() -> None:
        if name == "control/stop":
            run.stop_request.touch()
            time.sleep(0.3)  # stop requests are checked five times a second
        else:
            os.kill(os.getpid(), signal.Signals[name])

    first.settings["validation"] = Interrupted(first.data, 2, stop)
    assert first.go() == ("stopped" if name == "control/stop" else "preempted")
    run.stop_request.unlink(missing_ok=True)
    found, _ = checkpoint.find_newest(run.checkpoints)
    assert found.progress == Progress(2 * STEPS, 1, STEPS)
    assert [event.step for event in events_of(run, events.Validation)] == [STEPS]

    second = Attempt(run, 2)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    second.checkpointer.save = killed
    with pytest.raises(KeyboardInterrupt):
        second.go()
    assert [event.step for event in events_of(run, events.Validation)] == [STEPS, 2 * STEPS]

    third = Attempt(run, 3)
    assert third.go() == "completed"
    assert story(run) == whole[0]
    assert same(weights(third), whole[1])


def when_recorded(attempt: Attempt, step: int, act: Callable[[Progress], None]) -> None:
    """Do something once the attempt has recorded that step."""
    recorded = attempt.recorder.step

    def record_and_act(progress: Progress, *rest: Any) -> None:
        recorded(progress, *rest)
        if progress.step == step:
            act(progress)

    attempt.recorder.step = record_and_act


def stop_at(attempt: Attempt, step: int) -> None:
    when_recorded(attempt, step, lambda _: setattr(attempt.stop, "signal", "SIGTERM"))


def stopped_and_resumed(run: RunDirectory, step: int, **settings: Any) -> Attempt:
    """The second of two attempts, which has completed what the first was stopped in at that step."""
    first = Attempt(run, 1, **settings)
    stop_at(first, step)
    assert first.go() == "preempted"
    second = Attempt(run, 2, **settings)
    assert second.go() == "completed"
    return second


def uninterrupted(folder: Path, **settings: Any) -> Attempt:
    """An attempt that has completed its run in one go."""
    whole = Attempt(new_run(folder), 1, **settings)
    assert whole.go() == "completed"
    return whole


@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS, 3 * STEPS - 1])
def test_a_stop_at_any_step_and_a_resume_give_the_uninterrupted_run(run, whole, step):
    second = stopped_and_resumed(run, step)
    assert story(run) == whole[0]
    assert same(weights(second), whole[1])
    assert [event.step for event in events_of(run, events.RunStart)] == [0, step]


def patient(ranks: Ranks) -> Limits:
    """The first epoch counts as the best, since no other is 99 points better: training is done after the third."""
    return Limits(early_stop=EarlyStop(patience=2, delta=0.99))


@pytest.mark.parametrize("step", [None, STEPS, 3 * STEPS])
def test_an_early_stop_comes_after_the_same_epoch_whatever_interrupts_the_run(run, whole, step):
    """The run of 3 epochs is `whole`. At its last step the interruption comes before the evaluation."""
    first = Attempt(run, 1, epochs=9, limits=patient)
    if step is not None:
        stop_at(first, step)
        assert first.go() == "preempted"
        first = Attempt(run, 2, epochs=9, limits=patient)
    assert first.go() == "completed"
    assert story(run) == whole[0]
    assert same(weights(first), whole[1])
    again = Attempt(run, 3, epochs=9, limits=patient)  # as after a kill before the end was recorded
    assert again.go() == "completed"
    assert story(run) == whole[0]


def test_a_budget_of_steps_ends_after_exactly_so_many_and_a_larger_one_gives_the_uninterrupted_run(run, whole):
    for number, budget in enumerate([2, 2, STEPS, STEPS + 1], start=1):
        assert Attempt(run, number, limits=lambda ranks, budget=budget: Limits(max_steps=budget)).go() == OUT_OF_BUDGET
        found, _ = checkpoint.find_newest(run.checkpoints)
        assert found.progress.step == budget
    last = Attempt(run, 9, limits=lambda ranks: Limits(max_steps=3 * STEPS))  # it needs no more
    assert last.go() == "completed"
    assert story(run) == whole[0]
    assert same(weights(last), whole[1])


def test_a_budget_of_time_that_is_used_up_leaves_a_step_of_an_attempt_without_a_checkpoint(run):
    assert Attempt(run, 1, limits=lambda ranks: Limits(max_time_s=100.0, spent_s=100.0)).go() == OUT_OF_BUDGET
    assert Attempt(run, 2, limits=lambda ranks: Limits(max_time_s=100.0, spent_s=100.0)).go() == OUT_OF_BUDGET
    found, _ = checkpoint.find_newest(run.checkpoints)
    assert found.progress.step == 1  # of an attempt without a checkpoint a step is kept
    assert Attempt(run, 3, limits=lambda ranks: Limits(max_time_s=1000.0, spent_s=100.0)).go() == "completed"


def test_what_all_attempts_have_worked_is_without_a_sleep_of_the_machine_and_the_time_between_them(tmp_path):
    run = RunDirectory(tmp_path)
    for number in (1, 2):
        writer = EventWriter(run.events(), number)
        for t, body in enumerate([events.RunStart(), events.Heartbeat(), events.Heartbeat(), events.RunEnd("stopped")]):
            writer.write(body, 1, 1e6 * number + 5.0 * t + (36_000.0 if t > 1 else 0.0))
        writer.close()
    assert worked_s(run) == 2 * (5.0 + LOST_AFTER_S + 5.0)


def test_a_resume_continues_a_schedule_by_step_to_the_last_bit(run, tmp_path):
    optim = OptimSection(lr=0.2, schedule="restarts", warmup_steps=3, lr_min=0.01, restart_epochs=1)
    schedule = Schedule(optim, 3, STEPS)
    settings = {"log_every": 1, "schedule": lambda now: schedule(now.epoch, now.step)}
    expected = uninterrupted(tmp_path / "apart", **settings)
    rates = [event.body.lr for event in events_of(expected.run, events.Metrics)]
    assert rates == [schedule(step // STEPS, step) for step in range(3 * STEPS)] and len(set(rates)) > STEPS
    second = stopped_and_resumed(run, 6, **settings)
    assert rates == [event.body.lr for event in events_of(run, events.Metrics)]
    assert story(run) == story(expected.run) and same(weights(second), weights(expected))


def test_a_moving_average_changes_nothing_and_is_resumed_to_the_last_bit(run, tmp_path, whole):
    expected = uninterrupted(tmp_path / "apart", ema=0.5)
    assert same(weights(expected), whole[1])
    assert [entry[:5] for entry in story(expected.run)] == [entry[:5] for entry in whole[0]]
    stopped_and_resumed(run, STEPS + 2, ema=0.5)
    assert story(run) == story(expected.run)
    ours = weights_of(run, 3 * STEPS)
    assert "ema 0.weight" in ours and not torch.equal(ours["ema 0.weight"], ours["0.weight"])
    check_same_weights(run, expected.run, 3 * STEPS)


def test_branches_are_resumed_to_the_last_bit_and_are_not_in_the_weights(run, tmp_path):
    expected = Attempt(new_run(tmp_path / "apart"), 1, branches=["2"])
    drawn = [weight.detach().clone() for weight in expected.state.branches.branches.parameters()]
    assert expected.go() == "completed"
    second = stopped_and_resumed(run, STEPS + 2, branches=["2"])
    assert story(run) == story(expected.run)
    assert same(second.state.trained.parameters(), expected.state.trained.parameters())
    trained = second.state.branches.branches.parameters()
    assert not any(torch.equal(before, after) for before, after in zip(drawn, trained, strict=True))
    saved = load_file(run.checkpoints / f"step-{3 * STEPS:08d}" / "model.safetensors")
    assert saved.keys() == create_model("convnet", num_classes=4, in_channels=1).state_dict().keys()


def test_two_ranks_have_the_same_moving_average_and_one_that_is_their_models(tmp_path, two_ranks):
    run = new_run(tmp_path / "job")

    def work(ranks: Ranks) -> dict[str, Tensor]:
        attempt = Attempt(run, 1, ranks, ema=0.5)
        assert attempt.go() == "completed" and attempt.state.average is not None
        with attempt.state.average.applied():
            ranks.share_buffers(attempt.model)
            return {name: tensor.clone() for name, tensor in attempt.model.state_dict().items()}

    first, second = two_ranks(work)
    saved = load_file(run.checkpoints / f"step-{3 * STEPS:08d}" / "ema.safetensors")
    for name, kept in saved.items():
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], kept), name
    [*_, last] = events_of(run, events.Validation)
    assert last.body.ema_top1 is not None


def test_a_resume_continues_with_the_same_loss_scale(run):
    first = Attempt(run, 1, epochs=1, precision="fp16")
    first.state.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
    assert first.go() == "completed"
    second = Attempt(run, 2, epochs=1, precision="fp16")
    assert second.go() == "completed"
    assert second.state.scaler.state_dict() == first.state.scaler.state_dict()
    assert second.state.scaler.get_scale() == 128.0


def test_checkpoints_are_saved_every_third_epoch_after_improvements_and_at_the_end(run):
    attempt = Attempt(run, 1, epochs=7, every=("epochs", 3))
    assert attempt.go() == "completed"
    validations = events_of(run, events.Validation)
    best, better = -1.0, []
    for event in validations:
        if event.body.top1 > best:
            best = event.body.top1
            better.append(event.step)
    saved = events_of(run, events.CheckpointSaved)
    assert [event.step for event in saved] == sorted({*better, 3 * STEPS, 6 * STEPS, 7 * STEPS})
    assert [event.step for event in saved if event.body.best] == better


def test_a_checkpoint_by_time_is_saved_between_steps(run):
    assert Attempt(run, 1, epochs=1, every=("seconds", 1e-9)).go() == "completed"
    assert [event.step for event in events_of(run, events.CheckpointSaved)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "value"), [("0.weight", float("nan")), ("0.weight", float("inf")), ("1.running_mean", float("nan"))]
)
def test_non_finite_weights_and_statistics_are_never_saved(run, name, value):
    attempt = Attempt(run, 1)
    with torch.no_grad():
        attempt.model.state_dict()["0.weight"].fill_(1e30)  # finite, though its square overflows float32
    attempt.checkpointer.save(Progress(1, 0, 1))
    with torch.no_grad():
        attempt.model.state_dict()[name].flatten()[0] = value
    with pytest.raises(NonFiniteLoss, match="not finite after step 2"):
        attempt.checkpointer.save(Progress(2, 0, 2))
    attempt.journal.end("failed", "")
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000001"]


def test_a_request_for_a_checkpoint_is_served_once(run):
    attempt = Attempt(run, 1, epochs=1, every=("seconds", 3600.0))
    run.checkpoint_request.touch()
    assert attempt.go() == "completed"
    assert [event.step for event in events_of(run, events.CheckpointSaved)] == [1, 4]
    assert not run.checkpoint_request.exists()


def test_the_space_reserved_for_the_last_event_is_released(run):
    attempt = Attempt(run, 1)
    assert (run.control / "reserve").stat().st_size >= 2**17
    attempt.journal.write(events.Heartbeat())
    attempt.journal.end("failed", "why")
    assert list(run.control.iterdir()) == []


# Two ranks


def disturbed(run: RunDirectory, number: int, ranks: Ranks, step: int, happen: Callable[[Attempt, Any], None]) -> Any:
    """An attempt on whose second rank something happens at a step; returns its status and its weights."""
    ranks.agree(0, 0, 0)  # as if these ranks had communicated before the attempt
    attempt = Attempt(run, number, ranks)
    recorded = attempt.recorder.step

    def disturb(progress: Progress, out: Any, *rest: Any) -> None:
        if progress.step == step and ranks.rank == 1:
            happen(attempt, out)
        recorded(progress, out, *rest)

    attempt.recorder.step = disturb
    try:
        return attempt.go(), weights(attempt)
    except NonFiniteLoss as error:
        return str(error), None


def test_a_signal_to_one_rank_ends_both_at_the_same_step_and_a_resume_equals_no_interruption(tmp_path, two_ranks):
    steps = [0, 1, STEPS - 1, STEPS, 2 * STEPS + 2]

    def signalled(attempt: Attempt, out: Any) -> None:
        attempt.stop.signal = "SIGTERM"

    def work(ranks: Ranks) -> list[Any]:
        ended = []
        for step in steps:
            run = RunDirectory(tmp_path / str(step))
            run.control.mkdir(parents=True, exist_ok=True)
            attempts = [disturbed(run, 1, ranks, step, signalled)]
            if step:
                attempts.append(disturbed(run, 2, ranks, 0, signalled))
            ended.append(([status for status, _ in attempts], attempts[-1][1]))
        return ended

    first, second = two_ranks(work)
    for step, (statuses, trained), (others, _) in zip(steps, first, second, strict=True):
        run = RunDirectory(tmp_path / str(step))
        assert statuses == others == (["preempted", "completed"] if step else ["completed"])
        assert story(run) == story(RunDirectory(tmp_path / "0"))
        assert same(trained, first[0][1])
        if step:  # at the boundary after it, or before the evaluation
            assert events_of(run, events.RunStart)[1].step == step + (step % STEPS > 0)
    evaluations = events_of(RunDirectory(tmp_path / "0"), events.Validation)
    assert [event.body.samples for event in evaluations] == [16] * 3


def test_two_ranks_end_at_the_same_step_by_a_budget_that_only_the_first_can_measure(tmp_path, two_ranks):
    limits = {
        "time": lambda ranks: Limits(max_time_s=1.0 if ranks.rank == 0 else 0.0, spent_s=1.0),
        "steps": lambda ranks: Limits(max_steps=STEPS + 1),
        "early": patient,
    }

    def work(ranks: Ranks) -> list[Any]:
        ended = []
        for name, limit in limits.items():
            run = RunDirectory(tmp_path / name)
            run.control.mkdir(parents=True, exist_ok=True)
            ranks.agree(0, 0, 0)  # as if these ranks had communicated before the attempt
            attempt = Attempt(run, 1, ranks, epochs=6, limits=limit)
            ended.append((attempt.go(), attempt.journal.summary.step))
        return ended

    first, second = two_ranks(work)
    assert first == second
    assert first == [(OUT_OF_BUDGET, 2), (OUT_OF_BUDGET, STEPS + 1), ("completed", 3 * STEPS)]


def test_a_non_finite_loss_on_one_rank_ends_both_with_its_step_and_is_recorded_as_null(tmp_path, two_ranks):
    run = new_run(tmp_path / "job")

    def spoil(attempt: Attempt, out: Any) -> None:
        out.loss.fill_(float("inf"))

    ended = two_ranks(lambda ranks: disturbed(run, 1, ranks, 6, spoil)[0])
    assert ended == ["the loss or its gradient is not finite at step 6"] * 2
    found, _ = checkpoint.find_newest(run.checkpoints)
    assert found.progress.step == STEPS
    # On a busy machine the results of step 6 are looked at before there is a step 8.
    assert [event.body.loss is None for event in events_of(run, events.Metrics)][:3] == [False, False, True]


@pytest.mark.parametrize("bad", [2, STEPS, STEPS + 1])
def test_a_non_finite_gradient_is_not_applied_and_the_state_before_it_is_saved(run, tmp_path, bad):
    """Weights, momentum, running statistics and position are those of a run that was stopped a step earlier."""
    check_last_finite(run, tmp_path, bad, lambda work: [work(Ranks())])


def test_a_non_finite_gradient_on_one_rank_ends_both_and_the_state_before_it_is_saved(run, tmp_path, two_ranks):
    check_last_finite(run, tmp_path, STEPS + 2, two_ranks)


def check_last_finite(run: RunDirectory, tmp_path: Path, bad: int, ranks_of: Callable[..., list[Any]]) -> None:
    def spoiled(ranks: Ranks) -> str:
        last = ranks.rank == ranks.size - 1
        settings = {"every": ("seconds", 3600.0), "lr": 0.01, "ema": 0.5}
        attempt = Attempt(run, 1, ranks, spoil=bad if last else 0, **settings)
        with pytest.raises(NonFiniteLoss) as error:
            attempt.go()
        return str(error.value)

    whole = new_run(tmp_path / "whole")

    def stopped(ranks: Ranks) -> None:
        attempt = Attempt(whole, 1, ranks, every=("seconds", 3600.0), lr=0.01, ema=0.5)

        def save_and_leave(progress: Progress) -> None:
            attempt.checkpointer.save(progress)
            raise KeyboardInterrupt

        when_recorded(attempt, bad - 1, save_and_leave)
        with pytest.raises(KeyboardInterrupt):
            attempt.go()

    told_by = ranks_of(spoiled)
    assert told_by == [f"the loss or its gradient is not finite at step {bad}"] * len(told_by)
    ranks_of(stopped)
    found, _ = checkpoint.find_newest(run.checkpoints)
    assert found.progress.step == bad - 1
    if found.progress.position:
        assert found.progress == Progress(bad - 1, (bad - 1) // STEPS, (bad - 1) % STEPS)
    check_same_weights(run, whole, bad - 1)


def weights_of(run: RunDirectory, step: int) -> dict[str, Tensor]:
    """Weights, running statistics, their moving average and momenta in a checkpoint, by name."""
    folder = run.checkpoints / f"step-{step:08d}"
    state = torch.load(folder / "optimizer.pt", weights_only=True)["optimizer"]["state"]
    momenta = {f"{number} {key}": value for number, one in state.items() for key, value in one.items()}
    average = load_file(folder / "ema.safetensors") if (folder / "ema.safetensors").is_file() else {}
    return load_file(folder / "model.safetensors") | momenta | {f"ema {name}": one for name, one in average.items()}


def check_same_weights(run: RunDirectory, other: RunDirectory, step: int) -> None:
    ours, theirs = weights_of(run, step), weights_of(other, step)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_evaluation_tells_the_accuracy_of_the_first_timesteps(run):
    attempt = Attempt(run, 1)
    attempt.go()
    evaluated = [event.body for event in events_of(run, events.Validation)]
    for one in evaluated:
        assert len(one.top1_by_step) == 2
        assert one.top1_by_step[-1] == one.top1
    [(images, labels)] = evaluation(attempt.data, batch_size=16)
    logits = attempt.state.method.predict(attempt.model, images)
    assert evaluated[-1].top1_by_step == [
        (logits[: t + 1].mean(0).argmax(1) == labels).double().mean().item() for t in range(2)
    ]


def test_of_classes_that_are_equally_likely_the_first_is_predicted_as_argmax_has_it():
    labels = torch.arange(10).repeat(20)
    # As without spikes, and of a head without bias behind few.
    for logits in (torch.zeros(1, 200, 10), torch.randint(3, (2, 200, 10)).float()):
        scores = ScoreSums(len(logits))
        scores.add(logits, labels)
        _, top1, top5, *by_step = scores.sums()
        assert top1 == by_step[-1] == (logits.mean(0).argmax(1) == labels).sum()
        order = logits.mean(0).sort(dim=1, descending=True, stable=True).indices
        assert top5 == (order[:, :5] == labels.unsqueeze(1)).sum()


def generators(run: RunDirectory) -> dict[str, bytes]:
    """The random states in all checkpoints, by file."""
    return {str(path.relative_to(run.checkpoints)): path.read_bytes() for path in run.checkpoints.rglob("rng-*.pt")}


def test_gradients_compared_while_training_change_no_bit_of_a_checkpoint(run, tmp_path):
    plain = new_run(tmp_path / "plain")
    Attempt(plain, 1).go()
    Attempt(run, 1, gradients=3).go()
    assert [event.step for event in events_of(run, events.GradientFidelity)] == [3, 6, 9, 12]
    assert story(run) == story(plain)
    assert len(generators(run)) > 2 and generators(run) == generators(plain)
    for step in (8, 12):
        check_same_weights(run, plain, step)
