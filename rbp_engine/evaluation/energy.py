"""The energy of a run's network, measured later."""

from dataclasses import replace
from typing import Any

from rbp_engine.evaluation.trained import Trained
from rbp_engine.probes.energy import measure_energy
from rbp_engine.run import trust
from rbp_engine.run.files.energy import write_energy
from rbp_engine.train.checkpoints import checkpoint


def energy_of(trained: Trained) -> dict[str, Any]:
    """Measure the network on the first images of its test set, and keep the result in the run's `energy.json`.

    Returns it as JSON, with `kept` "" or the reason why it was not written.
    """
    images, _ = next(iter(trained.feed(trained.timesteps).test))
    step = checkpoint.verify(trained.loaded.file.parent).progress.step
    energy = replace(measure_energy(trained.loaded.model, images, trained.timesteps), step=step)
    kept = "" if trust.is_own(trained.run) else "it is another user's"
    try:
        if not kept:
            write_energy(trained.run, energy)
    except OSError as error:
        kept = error.strerror or str(error)
    return {"run": trained.run.id, "weights": trained.called} | energy.as_json() | {"kept": kept}
