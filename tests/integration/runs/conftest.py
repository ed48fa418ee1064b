"""Real workers: each is a process that imports torch, loads `digits` and trains a small network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from rbp_engine.preset import load_preset
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Event, Metrics, RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Checkpoint
from tests.waiting import wait_for

TINY = """
[data]
name = "digits"
batch_size = 128
crop_padding = 1
[method]
timesteps = 2
[train]
epochs = 3
log_every = 5
[run]
device = "cpu"
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One thread, because a second one only slows such small steps down; and no settings of this machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """An uninterrupted run of 3 epochs of 12 steps."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RBP_CONFIG", str(folder / "config"))
        run = launch.create(load_preset(str(folder / "tiny.toml")), folder / "runs")
        launch.start(run)
    verdict = Look.end(run)
    assert verdict.status == "completed", (verdict, run.stderr().read_text()[-2000:])
    return run


@pytest.fixture
def new_run(tmp_path: Path) -> Iterator[Callable[..., RunDirectory]]:
    """Make a run of 3 epochs of 12 steps, changed by words as on the command line; the test's end kills its worker."""
    made: list[RunDirectory] = []
    (tmp_path / "tiny.toml").write_text(TINY)

    def make(*words: str, runs: Path = tmp_path / "runs", run_id: str | None = None) -> RunDirectory:
        made.append(launch.create(load_preset(str(tmp_path / "tiny.toml"), words), runs, run_id=run_id))
        return made[-1]

    yield make
    for run in made:
        processes.kill_all(run)


class Look:
    """Reads a run, and waits for it."""

    @staticmethod
    def end(run: RunDirectory) -> Verdict:
        """Wait for the end of the run and return the verdict."""

        def ended() -> Verdict | None:
            verdict = judge(run)
            return None if verdict.live else verdict

        verdict: Verdict = wait_for(ended)
        return verdict

    @staticmethod
    def first(run: RunDirectory, kind: type, attempt: int = 1) -> Event:
        """Wait for the first event of a kind in an attempt. The run must not end before."""

        def found() -> Event | None:
            for event in read_events(run.events()):
                if event.attempt == attempt and isinstance(event.body, kind):
                    return event
            verdict = judge(run)
            assert verdict.live, (verdict, run.stderr().read_text()[-2000:])
            return None

        event: Event = wait_for(found)
        return event

    @staticmethod
    def bodies(run: RunDirectory, kind: type) -> list[Any]:
        return [event.body for event in read_events(run.events()) if isinstance(event.body, kind)]

    @staticmethod
    def story(run: RunDirectory) -> list[dict[str, Any]]:
        """What the run learned, step by step and epoch by epoch, without timings."""
        timing = {"samples_per_s", "step_ms", "data_ms", "trained_s"}
        return [
            {"step": event.step, "kind": event.body.kind}
            | {k: v for k, v in vars(event.body).items() if k not in timing}
            for event in read_events(run.events())
            if isinstance(event.body, (Metrics, Validation))
        ]

    @staticmethod
    def newest(run: RunDirectory) -> Checkpoint:
        """The newest checkpoint, which must be whole."""
        found, skipped = checkpoint.find_newest(run.checkpoints)
        assert found is not None and skipped == []
        return found

    @staticmethod
    def weights(run: RunDirectory) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = load_file(Look.newest(run).path / "model.safetensors")
        return weights

    @staticmethod
    def resumes(run: RunDirectory) -> list[str | None]:
        """What each attempt resumed from."""
        return [body.resumed_from for body in Look.bodies(run, RunStart)]

    wait_until = staticmethod(wait_for)


@pytest.fixture
def look() -> type[Look]:
    return Look
