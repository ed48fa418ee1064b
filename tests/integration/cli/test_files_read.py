"""How often `rbp train` reads files that it has just written."""

import json
import subprocess
import sys

import pytest

# Records how often each file of a run has been opened for reading when rbp first waits for the worker.
COUNTING = """
import json, os, sys, time
from collections import Counter
from pathlib import Path

counts, runs, worker, sleep = Counter(), Path("runs").absolute(), [], time.sleep

def noted(event, args):
    if event == "subprocess.Popen" and "rbp_engine.train.worker" in args[1]:
        worker.append(args[1])
    elif event == "open" and isinstance(args[0], (str, Path)) and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        path = Path(args[0]).absolute()
        if path.is_relative_to(runs / "mine") and path.is_file():
            counts[str(path.relative_to(runs / "mine"))] += 1

def wait(seconds):
    if worker and not Path("counts.json").exists():
        Path("counts.json").write_text(json.dumps(counts))
    sleep(seconds)

time.sleep = wait
sys.addaudithook(noted)
from rbp_tui.cli import main
main()
"""


@pytest.mark.parametrize("options", [(), ("--resume-or-start",)])
def test_each_file_of_a_new_run_is_read_at_most_twice_before_the_wait_for_its_worker(rbp, options):
    words = ("train", "digits", "T=1", "epochs=1", "batch=256", "--id", "mine", *options)
    subprocess.run([sys.executable, "-c", COUNTING, *words], cwd=rbp.folder, env=rbp.environment, check=True)
    counts = json.loads((rbp.folder / "counts.json").read_text())
    assert {"run.json", "summary.json"} <= counts.keys()
    assert max(counts.values()) <= 2, counts
