"""Trains the runs that the alarms are tested with, and keeps of their events what rules read: `make alarms`.

python tests/alarms/record.py                                  all of them
python tests/alarms/record.py silenced digits-1                these: faults, and presets with a seed
python tests/alarms/record.py --epochs 3 cifar10-resnet18-1    another preset whose data are here, stopped after 3
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rbp_engine.run.control import request_stop
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Event, FiringRates, GradientFidelity, Health, Metrics, RunStart, to_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.status.status import judge

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
SEEDS = (1, 2, 3)
PRESETS = ("digits", "mnist5k", "moving-digits", "sequential-digits")
PLAIN, RESIDUAL = f"arch={HERE / 'nets.py'}:plain", f"arch={HERE / 'nets.py'}:Residual"
HEALTH = "probes.health=true"
EPOCH_3 = "model.args.step=47"  # digits has 23 steps an epoch

#: Runs with a fault, and runs that are well and show it.
RUNS: dict[str, tuple[str, ...]] = {
    "silenced": ("digits", PLAIN, "epochs=6", "model.args.fault=3", EPOCH_3),
    "silenced-residual": ("digits", RESIDUAL, "epochs=6", "model.args.fault=2", EPOCH_3),
    "threshold-too-high": ("digits", PLAIN, "epochs=4", "neuron.threshold=20"),
    "no-batch-norm": ("digits", PLAIN, "epochs=4", "model.args.norm=false", "model.args.depth=8"),
    "saturated": ("digits", PLAIN, "epochs=6", "model.args.fault=3", "model.args.bias=10", EPOCH_3),
    "slow-membranes": ("digits", PLAIN, "epochs=4", "neuron.decay=0.95", "neuron.threshold=4", "T=8"),
    "slow-membranes-bptt": (
        "digits",
        PLAIN,
        "epochs=4",
        "neuron.decay=0.95",
        "neuron.threshold=4",
        "T=8",
        "method=bptt",
    ),
    "lr-too-high": ("digits", "epochs=4", "lr=50"),
    "lr-too-low": ("digits", "epochs=5", "lr=1e-6"),
    "far-from-bptt": (
        "digits",
        PLAIN,
        "epochs=4",
        "T=8",
        "model.args.depth=10",
        "neuron.decay=1",
        "probes.gradients=10",
    ),
    "moving-digits-beside-bptt": ("moving-digits", "probes.gradients=45"),
    "steps-too-large": ("digits", "epochs=4", "lr=50", "optim.schedule=constant", HEALTH),
    "steps-too-small": ("digits", "epochs=5", "lr=1e-6", HEALTH),
    "surrogate-too-flat": ("digits", PLAIN, "epochs=4", "model.args.depth=12", "neuron.surrogate_args.alpha=1", HEALTH),
    "surrogate-too-steep": (
        "digits",
        PLAIN,
        "epochs=4",
        "model.args.depth=16",
        "neuron.surrogate_args.alpha=64",
        HEALTH,
    ),
}
READ = (RunStart, Metrics, FiringRates, Health, GradientFidelity)
RBP = (sys.executable, "-c", "from rbp_tui.cli import main; main()")


def record(name: str, epochs: int | None = None) -> None:
    """Train one run and keep its events; it is stopped after `epochs`."""
    preset, _, seed = name.rpartition("-")
    words = RUNS.get(name, (preset, f"seed={seed}", HEALTH))
    with tempfile.TemporaryDirectory() as folder:
        command = [*RBP, "train", *words, "train.kernel=eager", "--trust", "--detach", "--runs-dir", folder]
        # Two threads add up in another order than one.
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=one_thread, stdout=subprocess.DEVNULL)
        [run] = map(RunDirectory, Path(folder).glob("2*"))
        while (verdict := judge(run)).live:
            if epochs is not None and (summary := read_summary(run)) is not None and summary.epoch >= epochs:
                request_stop(run)
            time.sleep(0.5)
        if verdict.status not in ("completed", "stopped"):
            raise SystemExit(f"{name}: {verdict.status}: {verdict.reason}")
        read = [event for event in read_events(run.events()) if isinstance(event.body, READ)]
        events = [thinned(event, number) for number, event in enumerate(read)]
    text = "".join(f"{to_json(event)}\n" for event in events)
    (RECORDINGS / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{name}: {verdict.status}, {len(events)} events")


def thinned(event: Event, number: int) -> Event:
    """Without what says only where and when it was: numbers that differ each time."""
    body = event.body
    if isinstance(body, RunStart):
        body = replace(body, host=None, logs=None, device=None)
    elif isinstance(body, Metrics):
        body = replace(body, samples_per_s=None, step_ms=None, data_ms=None)
    return replace(event, body=body, seq=number, t=0.0)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args(words)
    for name in given.names or [*RUNS, *(f"{preset}-{seed}" for preset in PRESETS for seed in SEEDS)]:
        record(name, given.epochs)


if __name__ == "__main__":
    main(sys.argv[1:])
