"""How much slower a step on the CPU gets beside one busy program (`yes`): of a run, and of a script.

ResNet-18, T = 4, a batch of 8, eager. In a run and a script threads that wait sleep soon; where the script imports
torch before rbp_engine, they spin. Fresh processes, interleaved, medians.

    python benchmarks/busy_neighbour.py [--rounds 3]

Budget: 2.5 times for a run and for a script that imports rbp_engine first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BATCH, STEPS = 8, 12
# The first steps of a process allocate its memory.
WARM_UP = 2
SCRIPT = """
import time
{first}
import torch
from rbp_engine.methods import create_method
from rbp_engine.models import create_model

model = create_model("resnet18", num_classes=10, in_channels=3)
method = create_method("rate_m", timesteps=4)
images, labels = torch.rand({batch}, 3, 32, 32), torch.randint(0, 10, ({batch},))
for _ in range({steps}):
    began = time.perf_counter()
    method.step(model, images, labels)
    print(1000.0 * (time.perf_counter() - began))
"""
SCRIPTS = {"script": "import rbp_engine", "script, torch first": ""}
RUN = (
    "cifar10-resnet18", "data.name=fake", f"batch={BATCH}", "train.kernel=eager", "train.log_every=1",
    "data.auto_augment=false", "probes.firing_rates=false", f"guard.max_steps={STEPS}",
)  # fmt: skip
STOPPED = 4
# A user's own choice of these would be measured.
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


def script_ms(first: str) -> float:
    """The median step of a script."""
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(first=first, batch=BATCH, steps=STEPS)]
    lines = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return statistics.median(map(float, lines[WARM_UP:]))


def run_ms() -> float:
    """The median step of a run."""
    with tempfile.TemporaryDirectory() as runs:
        words = [sys.executable, "-m", "rbp_tui", "train", *RUN, "--runs-dir", runs, "--id", "r"]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        assert done.returncode == STOPPED, done.returncode
        events = [json.loads(line) for line in Path(runs, "r/events/rank0.jsonl").read_text().splitlines()]
    return statistics.median([event["step_ms"] for event in events if event["kind"] == "metrics"][WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for name in VARIABLES:
        os.environ.pop(name, None)
    times: dict[tuple[str, bool], list[float]] = {}
    for _ in range(rounds):
        for busy in (False, True):
            neighbour = subprocess.Popen(["yes"], stdout=subprocess.DEVNULL) if busy else None
            try:
                times.setdefault(("run", busy), []).append(run_ms())
                for name, first in SCRIPTS.items():
                    times.setdefault((name, busy), []).append(script_ms(first))
            finally:
                if neighbour is not None:
                    neighbour.kill()
                    neighbour.wait()
    print(f"{'':22} {'alone':>8} {'beside yes':>12} {'ratio':>8}")
    for name in ("run", *SCRIPTS):
        alone, beside = (statistics.median(times[name, busy]) for busy in (False, True))
        print(f"{name:22} {alone:5.0f} ms {beside:9.0f} ms {beside / alone:8.2f}")


if __name__ == "__main__":
    main()
