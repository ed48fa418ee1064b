"""The energy of the trained network, recorded once at the end of a run that asks for it."""

from dataclasses import replace

from torch import nn

from rbp_engine.data.loading.source import EvaluationBatches
from rbp_engine.printable import visible
from rbp_engine.run.files.energy import write_energy
from rbp_engine.run.files.events import WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.record.journal import Journal


def record_energy(
    run: RunDirectory, journal: Journal, model: nn.Module, images: EvaluationBatches, timesteps: int
) -> None:
    """Write `energy.json`, from the first images; whatever keeps it from being measured is a warning."""
    try:
        from rbp_engine.probes.energy import measure_energy  # its counters take seconds to import

        batch = next(iter(images), None)
        if batch is not None:
            write_energy(run, replace(measure_energy(model, batch[0], timesteps), step=journal.summary.step))
    except Exception as error:  # the run is complete, and own networks may do anything
        what = f"the energy of the network was not measured: {type(error).__name__}: {error}"
        journal.write(WarningRaised(visible(what)))
        journal.say(what)
