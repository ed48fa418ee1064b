"""The energy of a run's network, measured later: `python -m rbp_engine.run_energy RUN`, a line of JSON on stdout."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rbp_engine.child import answer
from rbp_engine.loaded import Weights, load_with_data
from rbp_engine.probes.energy import measure_energy
from rbp_engine.run import trust
from rbp_engine.run.files.energy import write_energy
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.build import build_feed
from rbp_engine.train.checkpoints import checkpoint


def energy_of_run(run: RunDirectory, *, weights: Weights = "last", device: str = "auto") -> dict[str, Any]:
    """Measure the network of a run on the first images of its test set, and keep the result in its `energy.json`.

    Returns it as JSON, with `kept` "" or the reason why it was not written. Raises CheckpointError, and Untrusted for
    code that this user has not launched.
    """
    loaded = load_with_data(run, weights=weights, device=device)
    timesteps = loaded.preset.method.timesteps
    images, _ = next(iter(build_feed(run, loaded.preset, loaded.device).test))
    step = checkpoint.verify(loaded.file.parent).progress.step
    energy = replace(measure_energy(loaded.model, images, timesteps), step=step)
    kept = "" if trust.is_own(run) else "it is another user's"
    try:
        if not kept:
            write_energy(run, energy)
    except OSError as error:
        kept = error.strerror or str(error)
    return {"run": run.id, "weights": weights} | energy.as_json() | {"kept": kept}


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.run_energy", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", choices=("last", "best"), default="last")
    parser.add_argument("--device", default="auto")
    settings = vars(parser.parse_args(words))
    run = RunDirectory(settings.pop("run").resolve())
    return answer(lambda _: energy_of_run(run, **settings), run.code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
