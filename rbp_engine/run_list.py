"""`rbp_engine.runs`: the runs of a runs directory as records with their settings, and as a data frame."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbp_engine.errors import UserError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.run_settings import read_settings
from rbp_engine.run.store.store import RunRecord, list_runs
from rbp_engine.settings.machine import runs_directory

if TYPE_CHECKING:
    from rbp_engine.loaded import Loaded, Weights


@dataclass(frozen=True)
class Run:
    """A run as it is now.

    `last` and `best` are the top-1 accuracy on the validation data, as fractions, after the last epoch and after
    `best_epoch`; None before the first. `origin` is the id of the run that a longer one goes on from, which was
    made for `origin_epochs`; empty and 0 for the others. So many of the `timesteps` are enough: `timesteps_needed`.
    `created` is in seconds since 1970, `trained_s` in seconds. `preset` is the preset's name, with the network or data
    set that replaced its own.
    """

    id: str
    preset: str
    name: str
    method: str
    timesteps: int
    seed: int | None
    status: str
    reason: str
    epoch: int
    epochs: int
    origin: str
    origin_epochs: int
    last: float | None
    best: float | None
    best_epoch: int | None
    timesteps_needed: int | None
    loss: float | None
    created: float
    trained_s: float
    tags: tuple[str, ...]
    archived: bool
    folder: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every field of the preset by its dotted key, as "optim.lr"; empty if run.json cannot be read.

        Tables in a field, as `data.args`, stay tables.
        """
        sections = read_settings(RunDirectory(self.folder)).sections
        return {key: value for section in sections for key, value in section.items() if "." in key}

    def load(self, *, weights: "Weights" = "best", device: str = "auto", trust: bool = False) -> "Loaded":
        """The trained network, as from `rbp_engine.load`."""
        from rbp_engine.loaded import load

        return load(self.folder, weights=weights, device=device, trust=trust)


class Runs(list[Run]):
    """Runs, oldest first."""

    def to_frame(self) -> Any:
        """A pandas data frame with a row for each run: its fields, then a column for each setting.

        The index is the id. Raises UserError if pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UserError("a data frame needs pandas: pip install pandas") from None
        names = [field.name for field in fields(Run)]
        rows = [{name: getattr(run, name) for name in names} | run.settings for run in self]
        columns = dict.fromkeys([*names, *(key for row in rows for key in row)])
        return pandas.DataFrame(rows, columns=[*columns]).set_index("id")


def runs(query: str = "", *, runs_dir: str | Path | None = None) -> Runs:
    """The runs that fit a query, as `rbp ls` takes it ("method:rate T=4 acc>0.9"), oldest first; all by default.
    Those in the archive are among them, unless the query says "not:archived".

    They are those of `runs_dir`, by default the runs directory of the commands. Raises RunError for an invalid query or
    a directory that cannot be read. Neither imports torch nor executes anything of a run.
    """
    fits = parse_query(query)
    found = list_runs(runs_directory(Path(runs_dir) if runs_dir is not None else None))
    fits.require_known(found)
    return Runs(_run(record) for record in found if fits(record))


def _run(record: RunRecord) -> Run:
    summary = record.summary
    return Run(
        id=record.run.id,
        preset=summary.label,
        name=summary.name,
        method=summary.method,
        timesteps=summary.timesteps,
        seed=summary.seed,
        status=record.verdict.status,
        reason=record.verdict.reason,
        epoch=summary.epoch,
        epochs=summary.epochs,
        origin=summary.origin,
        origin_epochs=summary.origin_epochs,
        last=summary.last.top1,
        best=summary.best.top1,
        best_epoch=summary.best.epoch,
        timesteps_needed=summary.timesteps_needed,
        loss=summary.train.loss,
        created=summary.created,
        trained_s=summary.trained_s,
        tags=record.tags,
        archived=record.annotations.archived,
        folder=record.run.path,
    )
