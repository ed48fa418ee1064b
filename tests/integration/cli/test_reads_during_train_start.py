"""How often `rbp train` reads files that it has just written, from its start until its worker is up."""

import json

from tests.real import warm_python

# Records how often each version of a file of a run has been opened for reading before the worker wrote an event.
COUNTING = f"""
{warm_python.for_others()}
import atexit, json, os, sys
from collections import Counter
from pathlib import Path

counts, run = Counter(), Path("runs").absolute() / "mine"
events = run / "events" / "rank0.jsonl"

def count(event, args):
    if event == "open" and isinstance(args[0], (str, Path)) and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        path = Path(args[0]).absolute()
        up = events.is_file() and events.stat().st_size
        if path.is_relative_to(run) and path.is_file() and not up:
            counts[f"{{path.relative_to(run)}} {{path.stat().st_mtime_ns}}"] += 1

sys.addaudithook(count)
atexit.register(lambda: Path("counts.json").write_text(json.dumps(counts)))
from rbp_tui.cli import main
main()
"""


def test_each_file_of_a_new_run_is_read_at_most_twice_before_its_worker_is_up(rbp):
    """Also by an option that first looks for the run."""
    words = ("train", "digits", "T=1", "epochs=1", "batch=256", "--id", "mine", "--resume-or-start")
    rbp.python("-c", COUNTING, *words, check=True)
    versions = json.loads((rbp.folder / "counts.json").read_text())
    reads = {}
    for version, count in versions.items():
        reads.setdefault(version.split()[0], []).append(count)
    assert sum(reads.pop("run.json")) <= 2
    # What is written again meanwhile, as by a worker that loads torch for more than five seconds, is read once more.
    assert all(sum(counts) <= max(2, len(counts)) for counts in reads.values()), reads
