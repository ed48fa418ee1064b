"""A monkey at the dashboard finds no traceback, no fault that is kept silent, and destroys nothing unasked."""

import ast
import asyncio
import os
import random
import shlex
import shutil
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from rbp_engine import os_process
from rbp_engine.run import control
from rbp_engine.run.files.events import ErrorRaised, FiringRates, Metrics, RunStart, System, Validation
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.queue.host_lock import dispatcher
from rbp_engine.run.status import processes
from rbp_engine.run.store import listing
from rbp_engine.run.store.trash import trash_directory
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from tests import damaged_files
from tests.dashboard.monkey import Monkey, draw_acts, swallowed
from tests.run_files import write_attempt

SEEDS = int(os.environ.get("RBP_MONKEY_SEEDS", "1"))
ACTS = int(os.environ.get("RBP_MONKEY_ACTS", "200"))
PLAY = os.environ.get("RBP_MONKEY_PLAY", "")
#: Acts on one world; half of the worlds are for a monkey that may answer questions.
STRETCH = 100
GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
CURVE = (
    RunStart(steps_per_epoch=2, epochs=3, epoch=0, neuron_layers=["a", "b"]),
    *(Metrics(step // 2, 1 / step, 0.5, 0.1, 100.0, 5.0, 1.0) for step in range(1, 6)),
    *(FiringRates([[0.1, 0.2], [1 / 3, 0.0]], [0.5, 0.0], [0.0, 0.1]) for _ in range(3)),
    System(mem_allocated=2**30, mem_peak=2**31, rss=2**30),
    Validation(1, 0.5, 0.6, None, 100),
    Validation(2, 0.4, 0.7, None, 100),
)


class World:
    """A user's folder with runs, presets and a live process. Torch is broken in it, so runs that are launched fail."""

    def __init__(self, root, write_run, write_texts, hostile_text, draw):
        self.runs = root / "runs"
        for number, status in enumerate(["completed"] * 4 + ["failed", "stopped", "killed"]):
            bodies = (*CURVE, ErrorRaised("x", "Traceback …")) if status == "failed" else CURVE
            write_run(self.runs, f"20260101-00000{number}-digits-rate_m-{number:04x}", bodies=bodies, status=status,
                      experiment=f"e{number // 3}", seed=number % 3 + 1, reason="out of memory")  # fmt: skip
        for path in self.runs.glob("20260101-*"):
            run_json = path / "run.json"
            write_json(run_json, read_json(run_json) | {"sweep": {"name": "[b]sweep", "trial": draw.randrange(4)}})
        for name in ("completed", "stopped"):
            shutil.copytree(GOLDEN / name, self.runs / f"20260102-000000-golden-{name}")
        for number in range(4):
            run = damaged_files.write_run(self.runs, f"20260103-00000{number}-damaged", ended=number % 2 == 0)
            draw.choice(damaged_files.DAMAGES)(draw.choice(damaged_files.files(run)), draw)
        write_texts(self.runs, "20260104-000000-hostile", hostile_text)
        self.live = write_run(self.runs, "20260105-000000-live", bodies=CURVE, status="running", epoch=1)
        self.process = subprocess.Popen(["sleep", "infinity"], env=os.environ | processes.marker(self.live))
        write_attempt(self.live, process=asdict(os_process.of(self.process.pid)))
        self.presets = root / "presets"
        self.presets.mkdir()
        (self.presets / "mine.toml").write_text('extends = "digits"\n[train]\nepochs = 3  # few\n')
        (self.presets / "broken.toml").write_text('extends = "mine"\n[train]\nepochs = "x"\nlr = [\n')
        (root / "torch.py").write_text("raise ImportError('torch is broken here')\n")
        self.before = self.contents()

    def contents(self):
        """Every file of the runs, in the trash too, and of the presets."""
        found = {}
        for folder in (self.runs, trash_directory(self.runs), self.presets):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    found[str(path.relative_to(folder))] = path.read_bytes()
        return found

    def damage(self):
        """What has changed of what was there at first, but for what a resumed run adds to itself."""
        now = self.contents()
        found = [f"{name} is gone" for name in self.before.keys() - now.keys()]
        for name in self.before.keys() & now.keys():
            resumed = name.endswith("summary.json") and _attempts(now, name) > _attempts(self.before, name)
            if not now[name].startswith(self.before[name]) and not resumed:
                found.append(f"{name} is another")
        found += [f"{name} is new" for name in now.keys() - self.before.keys() if name.startswith(self.live.id)]
        if self.process.poll() is not None:
            found.append("the live run was killed")
        return found

    def close(self):
        self.process.kill()
        self.process.wait()
        if (process := dispatcher()) is not None and process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)
        for run in processes.processes_by_run():
            if run.path.parent == self.runs.resolve():
                control.kill(run)


def _attempts(contents, name):
    return sum(file.startswith(f"{name.split('/')[0]}/attempts/") for file in contents)


@pytest.fixture
def world(home, tmp_path_factory, monkeypatch, write_run, write_texts, hostile_text):
    """Make a new world, which ends the last."""
    made, path = [], os.environ.get("PYTHONPATH", "")

    def make(draw):
        for old in made[-1:]:
            old.close()
        root = tmp_path_factory.mktemp("world")
        for name, folder in (("HOME", "."), ("XDG_STATE_HOME", "state"), ("RBP_CONFIG", "config")):
            monkeypatch.setenv(name, str(root / folder))
        monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{path}")
        monkeypatch.setenv("EDITOR", "true")
        monkeypatch.setattr(os, "fsync", lambda file: None)
        monkeypatch.chdir(root)
        made.append(World(root, write_run, write_texts, hostile_text, draw))
        return made[-1]

    yield make
    for old in made[-1:]:
        old.close()


def faults_of(world, seed, stretch, acts):
    """The faults that these acts find in a new world, and how many acts it took."""
    answers = stretch % 2 == 1
    there, faults = world(random.Random(f"{seed} {stretch} world")), []
    monkey = Monkey(there.runs, faults, answers=answers)
    with swallowed(faults, everywhere=ACTS > STRETCH * 2):
        asyncio.run(monkey.play(acts))
    if not answers:
        faults += there.damage()
    return faults, monkey.done + 1


def shortest(world, seed, stretch, acts):
    """The shortest of the last 1, 2, 4, … acts that find a fault in a new world; all if none does."""
    length = 1
    while length < len(acts) and not faults_of(world, seed, stretch, acts[-length:])[0]:
        length *= 2
    return acts[-length:]


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_whatever_a_monkey_does_there_is_no_traceback_and_nothing_is_destroyed_unasked(world, seed):
    for stretch in range(-(-ACTS // STRETCH)):
        acts = draw_acts(random.Random(f"{seed} {stretch}"), STRETCH)
        faults, length = faults_of(world, seed, stretch, acts)
        if faults:
            again = (seed, stretch, shortest(world, seed, stretch, acts[:length]))
            once_more = f"the same once more, by the environment:\nRBP_MONKEY_PLAY={shlex.quote(repr(again))}"
            pytest.fail("\n".join([*faults, once_more]))


@pytest.mark.skipif(not PLAY, reason="plays what a failure has printed")
def test_acts_that_found_a_fault_find_none(world):
    faults, _ = faults_of(world, *ast.literal_eval(PLAY))
    assert not faults, "\n".join(faults)


# --- the control: planted faults are found --------------------------------------------------------------------------


def fail(*_):
    raise ValueError("planted")


def an_action_raises(patch):
    patch.setattr(RunsScreen, "action_mark", fail)


def the_reader_swallows_what_is_raised(patch):
    patch.setattr(listing, "judge", fail)


def runs_are_killed_unasked(patch):
    patch.setattr(RunsScreen, "action_kill", lambda self: self.act_on(self.fitting("kill"), control.kill, str))


def presets_are_overwritten_unasked(patch):
    patch.setattr(RunsScreen, "action_mark_all", lambda self: Path("presets/mine.toml").write_text(""))


@pytest.mark.parametrize(
    ("plant", "key", "found"),
    [
        (an_action_raises, "space", "ValueError: planted"),
        (the_reader_swallows_what_is_raised, "space", "swallowed"),
        (runs_are_killed_unasked, "k", "the live run was killed"),
        (presets_are_overwritten_unasked, "a", "mine.toml is another"),
    ],
)
def test_a_planted_fault_is_found(world, monkeypatch, plant, key, found):
    plant(monkeypatch)
    for patience_s in (0.7, 3.0, 12.0):  # on a busy machine the runs are listed later
        acts = [("key", "2"), ("wait", patience_s), ("key", key), ("wait", patience_s)]
        faults, _ = faults_of(world, 1, 0, acts)
        if any(found in fault for fault in faults):
            return
    pytest.fail("\n".join(faults) or "nothing was found")
