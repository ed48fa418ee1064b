"""Whether two checkouts train the same weights, bit for bit, on this machine.

    python benchmarks/same_weights.py OLD NEW [--presets digits,mnist5k,moving-digits] [--methods …] [--kernels …]

In both checkouts, each preset is trained by each method, with eager and with compiled neurons, and the weights of the
last checkpoint are compared. Exits with 1 if any differ. Both run with this Python and its packages.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

# Enough for the weights to pass through every part of a step many times.
EPOCHS = {"digits": 20, "mnist5k": 2, "moving-digits": 1}
METHODS = "rate_m,rate_s,bptt,bptt_s,sltt,ottt"


def train(checkout: Path, runs: Path, preset: str, method: str, kernel: str) -> str:
    """The hash of the final weights."""
    run = f"{preset}-{method}-{kernel}"
    settings = [f"method={method}", f"epochs={EPOCHS.get(preset, 1)}", f"train.kernel={kernel}", "run.device=cpu"]
    words = [sys.executable, "-m", "rbp_tui", "train", preset, *settings, "--id", run, "--runs-dir", str(runs)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(words, cwd=runs, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{checkout}: {run}: {done.stdout}{done.stderr}")
    last = max((runs / run / "checkpoints").glob("step-*"))
    weights = load_file(last / "model.safetensors")  # without the header, which has every field of the preset
    contents = (name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
    return hashlib.sha256(b"".join(contents)).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkouts", nargs=2, type=lambda path: Path(path).resolve(), metavar="CHECKOUT")
    parser.add_argument("--presets", default=",".join(EPOCHS))
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--kernels", default="eager,compiled")
    chosen = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("old", "new")]
        for place in places:
            place.mkdir()
        for preset in chosen.presets.split(","):
            for method in chosen.methods.split(","):
                for kernel in chosen.kernels.split(","):
                    old, new = (
                        train(checkout, place, preset, method, kernel)
                        for checkout, place in zip(chosen.checkouts, places, strict=True)
                    )
                    different += old != new
                    print(
                        f"{preset:14} {method:7} {kernel:9} {'same' if old == new else 'DIFFERENT'} {new[:12]}",
                        flush=True,
                    )
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
