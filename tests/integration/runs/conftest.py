"""Real workers: each is a process that imports torch, loads `digits` and trains a small network."""

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import RunStart
from rbp_engine.run.launch import launch
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_engine.train.checkpoints import checkpoint
from tests.run_files import bodies_of, newest_weights, story
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
def one_thread(monkeypatch, tmp_path):
    """One thread, because a second one only slows such small steps down; and no settings of this machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
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
def new_run(tmp_path):
    """Make a run of 3 epochs of 12 steps, changed by words as on the command line; the test's end kills its worker."""
    made = []
    (tmp_path / "tiny.toml").write_text(TINY)

    def make(*words, runs=tmp_path / "runs", run_id=None):
        made.append(launch.create(load_preset(str(tmp_path / "tiny.toml"), words), runs, run_id=run_id))
        return made[-1]

    yield make
    for run in made:
        processes.kill_all(run)


class Look:
    """Reads a run, and waits for it."""

    @staticmethod
    def end(run):
        """Wait for the end of the run and return the verdict."""

        def ended():
            verdict = judge(run)
            return None if verdict.live else verdict

        return wait_for(ended)

    @staticmethod
    def first(run, kind, attempt=1):
        """Wait for the first event of a kind in an attempt. The run must not end before."""

        def found():
            for event in read_events(run.events()):
                if event.attempt == attempt and isinstance(event.body, kind):
                    return event
            verdict = judge(run)
            assert verdict.live, (verdict, run.stderr().read_text()[-2000:])
            return None

        return wait_for(found)

    bodies = staticmethod(bodies_of)
    story = staticmethod(story)
    weights = staticmethod(newest_weights)

    @staticmethod
    def newest(run):
        """The newest checkpoint, which must be whole."""
        found, skipped = checkpoint.find_newest(run.checkpoints)
        assert found is not None and skipped == []
        return found

    @staticmethod
    def resumes(run):
        """What each attempt resumed from."""
        return [body.resumed_from for body in Look.bodies(run, RunStart)]

    wait_until = staticmethod(wait_for)


@pytest.fixture
def look():
    return Look
