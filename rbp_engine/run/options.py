"""How runs are launched, whatever they train: where, with what, and what happens if they end before the end."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rbp_engine.run.files.run_json import Resources
from rbp_engine.settings.machine import runs_directory


@dataclass(frozen=True)
class LaunchOptions:
    """What the options of a command say about all runs that it starts; None means the default, or as last time.

    Each run takes `resources`. With `gpus` ("auto", "none", or card indices) it waits in the queue until it can have
    its own devices. It is restarted up to `retries` times. When a run is resumed, `inexact` allows another number of
    processes, and `from_scratch` to start over if no checkpoint can be used.
    """

    runs_dir: Path | None = None
    resources: Resources | None = None
    gpus: str | None = None
    retries: int | None = None
    inexact: bool = False
    from_scratch: bool = False

    @property
    def runs(self) -> Path:
        """The runs directory, absolute. Raises MachineError."""
        return runs_directory(self.runs_dir)

    @property
    def takes(self) -> Resources:
        """The resources of a new run."""
        return self.resources or Resources()

    def over(self, others: "LaunchOptions") -> "LaunchOptions":
        """These options, and where they say nothing the others."""
        said = {name: value for name, value in vars(self).items() if value is not None and value is not False}
        return replace(others, **said)

    @property
    def words(self) -> list[str]:
        """The options of a command line that say the same."""
        takes = self.resources
        several = takes is not None and takes.nodes > 1
        values = {
            "--gpus": self.gpus,
            "--retries": self.retries,
            "--nproc": takes.processes if takes and (takes.processes > 1 or not several) else None,
            "--nnodes": takes.nodes if takes and several else None,
            "--rdzv": takes.rendezvous if takes and several else None,
            "--runs-dir": self.runs_dir,
        }
        flags = {"--inexact": self.inexact, "--from-scratch": self.from_scratch}
        return [
            *(word for name, value in values.items() if value is not None for word in (name, str(value))),
            *(name for name, given in flags.items() if given),
        ]


AS_USUAL: Final = LaunchOptions()
