"""Programs with a loop of their own, as processes: signals, a full disk, and what commands say of their runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbp_engine.report.compare import compare
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Metrics
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs

PROGRAM = """
import sys, time
import rbp_engine.run
assert not {"torch", "pydantic", "numpy", "psutil"} & {*sys.modules}
with rbp_engine.run.track({"lr": 0.1}, run_id=sys.argv[1], runs_dir=sys.argv[2]) as run:
    assert "torch" not in sys.modules
    if sys.argv[1] == "full":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    print("begun", flush=True)
    for step in range(2000 if sys.argv[1] == "full" else 10**6):
        run.log(loss=1.0)
        if run.stop_requested:
            break
        time.sleep(0.001)
print("after the block", flush=True)
"""
SHORT = """
import sys
import rbp_engine.run
with rbp_engine.run.track({"lr": 0.1, "seed": int(sys.argv[1])}, runs_dir=sys.argv[2]) as run:
    run.log(loss=1.0)
"""
pytestmark = pytest.mark.xdist_group("tracked programs")  # they are started together
NAMES = ("terminated", "interrupted", "killed", "full")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """All of them at once: most of their time they sleep."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "train.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "HOME": str(folder)}
    started = {
        name: subprocess.Popen(
            [sys.executable, str(folder / "train.py"), name, str(folder / "runs")],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in NAMES
    }  # fmt: skip
    for process in started.values():
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
    until = time.monotonic() + 60  # each has written what it has logged
    while any(not _metrics(folder, name) for name in NAMES) and time.monotonic() < until:
        time.sleep(0.05)
    yield folder, started
    for process in started.values():
        process.kill()
        process.communicate()


def _metrics(folder, name):
    path = RunDirectory(folder / "runs" / name).events()
    return sum(isinstance(event.body, Metrics) for event in read_events(path)) if path.exists() else 0


@pytest.mark.parametrize(
    ("name", "number", "code", "end"),
    [
        ("terminated", signal.SIGTERM, 143, ("preempted", "received SIGTERM")),
        ("interrupted", signal.SIGINT, -signal.SIGINT, ("stopped", "interrupted by Ctrl-C")),
        ("killed", signal.SIGKILL, -signal.SIGKILL, ("lost", "the process is gone without a word, probably killed")),
    ],
)
def test_a_signal_ends_the_program_as_ever_and_the_run_says_so(programs, name, number, code, end):
    folder, started = programs
    process, run = started[name], RunDirectory(folder / "runs" / name)
    assert judge(run).status == "running"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code and "after the block" not in out
    verdict = judge(run)
    assert verdict.status == end[0] and verdict.reason.startswith(end[1])
    assert _metrics(folder, name)


def test_a_disk_that_is_full_ends_nothing_and_is_said_once(programs):
    folder, started = programs
    out, said = started["full"].communicate(timeout=120)
    assert started["full"].returncode == 0 and "after the block" in out
    assert said.count("training goes on") == 1 and "Traceback" not in said
    assert 0 < _metrics(folder, "full") < 2000


def test_seeds_of_a_program_are_one_experiment_and_other_programs_are_others(tmp_path):
    """Another program is one of another name, or of the same name with other contents."""
    programs = [tmp_path / name for name in ("train.py", "copy/train.py", "other.py", "changed/train.py")]
    for program in programs:
        program.parent.mkdir(exist_ok=True)
        program.write_text(SHORT + "pass\n" * (program.parent.name == "changed"))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    for seed, program in enumerate([*programs, programs[0]]):
        command = [sys.executable, program, str(seed * (seed == 4)), tmp_path / "runs"]
        subprocess.run(command, env=environment, check=True, timeout=60)
    records = list_runs(tmp_path / "runs")
    first, copied, other, changed, again = (record.summary.experiment for record in records)
    assert first == copied == again and len({first, other, changed}) == 3
    found = compare([record.run for record in records])
    assert [len(group.runs) for group in found.groups] == [2, 1, 1]
    assert [one.id for one in found.excluded] == [records[0].run.id]  # trained again, of the same seed
