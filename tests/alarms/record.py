"""Trains the runs that the alarms are tested with, and keeps of their events what rules read: `make alarms`.

python tests/alarms/record.py                                  all of them
python tests/alarms/record.py silenced digits-1                these: faults, and presets with a seed
python tests/alarms/record.py --epochs 3 cifar10-resnet18-1    another preset whose data are here, stopped after 3
"""

import argparse
import contextlib
import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from rbp_engine.run.control import request_stop
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import (
    FiringRates,
    GradientFidelity,
    Health,
    Metrics,
    RunStart,
    System,
    Validation,
    to_json,
)
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.status.processes import processes_of
from rbp_engine.run.status.status import judge

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
SEEDS = (1, 2, 3)
PRESETS = ("digits", "mnist5k", "moving-digits", "sequential-digits")
PLAIN, RESIDUAL = f"arch={HERE / 'nets.py'}:plain", f"arch={HERE / 'nets.py'}:Residual"
HEALTH = "probes.health=true"
PIL = ("data.augment_backend=pil", "data.crop_padding=1", "data.flip=true")  # one image at a time
NEARLY_FULL_BYTES = 310 * 2**20  # digits has 291 MiB at its peak
SLOW = ("epochs=4", "neuron.decay=0.95", "neuron.threshold=4", "T=8")
DEEP = (PLAIN, "epochs=4")
RESTARTS = ("optim.schedule=restarts", "optim.restart_epochs=6", "optim.restart_mult=10")
EPOCH_3 = "model.args.step=47"  # digits has 23 steps an epoch

#: Runs with a fault, and runs that are well and show it.
RUNS = {
    "silenced": ("digits", PLAIN, "epochs=6", "model.args.fault=3", EPOCH_3),
    "silenced-residual": ("digits", RESIDUAL, "epochs=6", "model.args.fault=2", EPOCH_3),
    "threshold-too-high": ("digits", PLAIN, "epochs=4", "neuron.threshold=20"),
    "no-batch-norm": ("digits", PLAIN, "epochs=4", "model.args.norm=false", "model.args.depth=8"),
    "saturated": ("digits", PLAIN, "epochs=6", "model.args.fault=3", "model.args.bias=10", EPOCH_3),
    "slow-membranes": ("digits", PLAIN, *SLOW),
    "slow-membranes-bptt": ("digits", PLAIN, *SLOW, "method=bptt"),
    "lr-too-high": ("digits", "epochs=4", "lr=50"),
    "lr-too-low": ("digits", "epochs=5", "lr=1e-6"),
    "far-from-bptt": ("digits", *DEEP, "model.args.depth=10", "T=8", "neuron.decay=1", "probes.gradients=10"),
    "moving-digits-beside-bptt": ("moving-digits", "probes.gradients=45"),
    "steps-too-large": ("digits", "epochs=4", "lr=50", "optim.schedule=constant", HEALTH),
    "steps-too-small": ("digits", "epochs=5", "lr=1e-6", HEALTH),
    "surrogate-too-flat": ("digits", *DEEP, "model.args.depth=12", "neuron.surrogate_args.alpha=1", HEALTH),
    "surrogate-too-steep": ("digits", *DEEP, "model.args.depth=16", "neuron.surrogate_args.alpha=64", HEALTH),
}
#: Runs that end with something to be said about them.
RUNS |= {
    "input-bound": ("digits", "epochs=3", "T=1", *PIL),
    "ranks": ("digits", "epochs=3", "T=1", *PIL, "--nproc", "2"),
    "ranks-one-paused": ("digits", "epochs=6", "T=1", *PIL, "--nproc", "2"),
    "memory-nearly-full": ("digits", "epochs=4"),
    "lr-high-at-the-end": ("digits", "T=2", "epochs=9", "lr=2", *RESTARTS),
    "wrong-labels": ("digits", f"data={HERE / 'sets.py'}:few_digits", "epochs=50", "T=2", "optim.weight_decay=0"),
    "too-many-epochs": ("digits", "epochs=60", "T=2"),
    "stopped-early": ("digits", "epochs=20", "T=2"),
}
STOPPED_AFTER = {"stopped-early": 4}
#: Runs whose events keep the times of steps and the memory, which differ each time.
TIMED = ("input-bound", "ranks", "ranks-one-paused", "memory-nearly-full")
READ = (RunStart, Metrics, Validation, FiringRates, Health, GradientFidelity)
RBP = (sys.executable, "-c", "from rbp_tui.cli import main; main()")
GROUPS = Path("/sys/fs/cgroup")


def record(name, epochs=None):
    """Train one run and keep its events; it is stopped after `epochs`."""
    preset, _, seed = name.rpartition("-")
    words = RUNS.get(name, (preset, f"seed={seed}", HEALTH))
    epochs = epochs or STOPPED_AFTER.get(name)
    with tempfile.TemporaryDirectory() as folder, nearly_full(name) as enter:
        command = [*RBP, "train", *words, "train.kernel=eager", "--trust", "--detach", "--runs-dir", folder]
        # Two threads add up in another order than one.
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=one_thread, stdout=subprocess.DEVNULL, preexec_fn=enter)
        [run] = map(RunDirectory, Path(folder).glob("2*"))
        while (verdict := judge(run)).live:
            if epochs is not None and (summary := read_summary(run)) is not None and summary.epoch >= epochs:
                request_stop(run)
            if name == "ranks-one-paused":
                pause(run)
            else:
                time.sleep(0.5)
        if verdict.status not in ("completed", "stopped"):
            raise SystemExit(f"{name}: {verdict.status}: {verdict.reason}")
        wanted = (*READ, System) if name in TIMED else READ
        found = [event for rank in run.ranks_with_events() for event in read_events(run.events(rank))]
        read = [event for event in found if isinstance(event.body, wanted)]
        events = [thinned(event, number, timed=name in TIMED) for number, event in enumerate(read)]
    text = "".join(f"{to_json(event)}\n" for event in events)
    (RECORDINGS / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{name}: {verdict.status}, {len(events)} events")


def pause(run):
    """Let the second process of a run stand still most of the time for a second, as beside other jobs on its core."""
    for process in processes_of(run):
        with contextlib.suppress(psutil.Error):
            for _ in range(20 if process.environ().get("RANK") == "1" else 0):
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.04)
                process.send_signal(signal.SIGCONT)
                time.sleep(0.01)


@contextlib.contextmanager
def nearly_full(name):
    """What a process calls to enter a control group with little more memory than the run `memory-nearly-full` needs.

    It takes root. Of other runs None.
    """
    if name != "memory-nearly-full":
        yield None
        return
    first = (GROUPS / "memory").is_dir()
    group = (GROUPS / "memory" if first else GROUPS) / "rbp-alarms"
    group.mkdir(exist_ok=True)
    (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(NEARLY_FULL_BYTES))
    try:
        yield lambda: [None, (group / "cgroup.procs").write_text(str(os.getpid()))][0]
    finally:
        time.sleep(1.0)  # for the last process to leave
        group.rmdir()


def thinned(event, number, *, timed):
    """Without what says only where and when it was: numbers that differ each time."""
    body = event.body
    if isinstance(body, RunStart):
        body = replace(body, host=None, logs=None, device=None, memory=body.memory if timed else None)
    elif isinstance(body, Metrics) and not timed:
        body = replace(body, samples_per_s=None, step_ms=None, data_ms=None)
    return replace(event, body=body, seq=number, t=0.0)


def main(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args(words)
    for name in given.names or [*RUNS, *(f"{preset}-{seed}" for preset in PRESETS for seed in SEEDS)]:
        try:
            record(name, given.epochs)
        except PermissionError as error:
            print(f"{name}: left as it is, since it takes root to limit its memory: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
