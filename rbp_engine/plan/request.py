"""A sweep as a user asks for it, in a shell, in the launch form, or in the process that drives a search."""

import functools
from dataclasses import dataclass, replace

from rbp_engine.plan.words import SweepWords, parse_words
from rbp_engine.preset import LoadedPreset
from rbp_engine.run.request import LaunchRequest


@dataclass(frozen=True)
class SweepRequest:
    """What is said over `[sweep]` of the preset; what is empty is as it says, or the default.

    Of the overrides of the `request`, those with one value are for all runs, and those with several or a range vary.
    Settings with a range are drawn so many times as `draws` says, unless a `search`, one of SEARCHES, chooses the
    values of all that vary: then there are `trials`, judged by a `pruner` before their end.
    """

    request: LaunchRequest
    draws: int | None = None
    search: str = ""
    trials: int | None = None
    pruner: str = ""
    name: str = ""
    retry_failed: bool = False

    @functools.cached_property
    def words(self) -> SweepWords:
        """The settings, sorted. Raises PresetError with every problem of a single one."""
        return parse_words(self.request.overrides)

    @functools.cached_property
    def base(self) -> LoadedPreset:
        """The preset with what all runs have in common. Raises UserError."""
        return replace(self.request, overrides=self.words.fixed, seeds=()).load()

    @property
    def shared(self) -> LaunchRequest:
        """The request with what all runs have in common: their seeds, too, and that they wait in the queue."""
        options = replace(self.request.options, gpus=self.request.options.gpus or "auto")
        seeds = self.request.seeds
        if not seeds and self.base.sweep is not None and self.base.sources.get("run.seed") != "override":
            seeds = self.base.sweep.seeds
        return replace(self.request, overrides=self.words.fixed, seeds=seeds, options=options)

    @property
    def searches(self) -> bool:
        """Whether values are chosen one trial after the other. Raises UserError if the preset is invalid."""
        return bool(self.search or (self.draws is None and self.base.sweep is not None and self.base.sweep.search))

    @property
    def command(self) -> list[str]:
        """The shell command that makes the same request."""
        values = {
            "--random": self.draws,
            "--search": self.search,
            "--trials": self.trials,
            "--prune": self.pruner,
            "--name": self.name,
        }
        words = [word for name, value in values.items() if value for word in (name, str(value))]
        retries = ["--retry-failed"] if self.retry_failed else []
        return ["rbp", "sweep", *self.request.command[2:], *words, *retries]
