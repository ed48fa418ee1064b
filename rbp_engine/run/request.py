"""A request to launch runs, whether typed in a shell, filled into a form, or repeating an earlier run: what they train,
where, with what, and what happens if they end before the end."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rbp_engine.data.catalog import catalogued
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.preset.sweep.section import key_of
from rbp_engine.printable import one_line
from rbp_engine.run import teacher, trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked, launched, resources_of
from rbp_engine.run.files.layout import RunDirectory, check_run_id
from rbp_engine.run.files.run_json import Dispatch, Resources, SweepRecord
from rbp_engine.run.files.summary import load_summary, refuse_other_program
from rbp_engine.settings.machine import runs_directory
from rbp_engine.vocabulary import FOLDER_SET

MOST_RUNS = 1000
MOST_PROCESSES = 1024
MOST_NODES = 1024
MOST_RETRIES = 1000


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

    def asked(self, last: Asked) -> Asked:
        """How an attempt is asked for: as the `last` one was, but for what these options say."""
        gpus = last.dispatch.gpus if self.gpus is None else one_line(self.gpus)
        return replace(
            last,
            resources=self.resources or last.resources,
            dispatch=Dispatch(gpus, last.dispatch.retries if self.retries is None else self.retries),
            inexact=self.inexact,
            from_scratch=self.from_scratch,
        )

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


@dataclass(frozen=True)
class LaunchRequest:
    """A preset, `key=value` overrides, and how to start its runs.

    There is one run per seed in `seeds`, which wait in the queue, or one with the preset's seed if it is empty.
    `resume_or_start` resumes the run `run_id` if it exists. `typed` is the command that the user typed, if it differs
    from `command`. `original` is the run to repeat; `sweep` says to which sweep the runs belong.
    """

    preset: str
    overrides: tuple[str, ...] = ()
    options: LaunchOptions = AS_USUAL
    seeds: tuple[int, ...] = ()
    run_id: str | None = None
    resume_or_start: bool = False
    typed: tuple[str, ...] = ()
    original: RunDirectory | None = None
    sweep: SweepRecord | None = None

    @classmethod
    def like(cls, run: RunDirectory) -> "LaunchRequest":
        """A request to repeat a run, with the settings and the user's code saved in it, and the same resources.

        Raises RunError if run.json is damaged, or if the settings of another program's run are no preset.
        """
        refuse_other_program(run, "and its settings are no preset")
        last = launched(run)
        options = LaunchOptions(
            runs_dir=None if run.path.parent == runs_directory(None) else run.path.parent,
            resources=None if last.resources == Resources() else last.resources,
            gpus=last.dispatch.gpus,
            retries=last.dispatch.retries or None,
        )
        return cls(str(run.preset_toml), options=options, original=run)

    def without(self, setting: str) -> "LaunchRequest":
        """A request for one run with the same settings and the first seed, which starts at once under a new id.

        It is without the override of this setting, given by its full name or its short one.
        """
        words = [*self.overrides, *(f"seed={number}" for number in self.seeds[:1])]
        others = tuple(word for word in words if key_of(word) != key_of(setting))
        options = replace(self.options, gpus=None, inexact=False, from_scratch=False)
        return LaunchRequest(self.preset, others, options, original=self.original)

    def changed(self, setting: str, value: str) -> "LaunchRequest":
        """`without`, but with another value of the setting."""
        other = self.without(setting)
        return replace(other, overrides=(*other.overrides, f"{setting}={value}"))

    @property
    def code(self) -> Path | None:
        """The folder of the user's code if a run is repeated; None to take it from beside the preset."""
        return self.original.code if self.original else None

    @property
    def asked(self) -> Asked:
        """How the first attempts of its runs are asked for. Several seeds wait in the queue until each can have its own
        devices."""
        queued = bool(self.seeds) or self.options.gpus is not None
        return replace(self.options, gpus=self.options.gpus or "auto" if queued else None).asked(Asked())

    @property
    def words(self) -> list[str]:
        """What is trained, as words of the command line: the preset or the run to repeat, and the overrides.

        Of two overrides of one setting only the one that counts is there: typed together they are refused.
        """
        counting = {key_of(word): word for word in self.overrides}
        return [*(["--like", self.original.id] if self.original else [self.preset]), *counting.values()]

    @property
    def command(self) -> list[str]:
        """The shell command that makes the same request."""
        seeds = ["--seeds", ",".join(map(str, self.seeds))] if self.seeds else []
        named = ["--id", self.run_id] if self.run_id else []
        resumes = ["--resume-or-start"] if self.resume_or_start else []
        return ["rbp", "train", *self.words, *seeds, *named, *resumes, *self.options.words]

    def require_trust(self, loaded: LoadedPreset) -> trust.TrustedPreset:
        """The gate of its runs.

        Raises Untrusted as `trust.require_preset` does, and for the rendezvous of a run that is repeated.
        """
        if self.original is not None:
            copied = trust.rendezvous_of(resources_of(self.original))
            if copied and copied == trust.rendezvous_of(self.options.resources):
                trust.require_rendezvous(self.original, copied)
        return trust.require_preset(loaded)

    def seeds_of(self, loaded: LoadedPreset) -> tuple[int, ...]:
        """The seed of each run, where `loaded` is the preset of this request."""
        return self.seeds or (loaded.preset.run.seed,)

    def load(self) -> LoadedPreset:
        """The preset with the overrides applied. Raises UserError for anything invalid or contradictory."""
        loaded = load_preset(self.preset, self.overrides, code=self.code)
        loaded = with_folder_data(teacher.with_teacher(loaded, self.options.runs, self.original))
        if self.original is not None:
            was = load_summary(self.original)
            loaded = replace(loaded, name=was.preset, label=was.label + loaded.label.removeprefix(loaded.name))
        if self.seeds and loaded.sources.get("run.seed") == "override":
            raise RunError("both --seeds and seed= are given: leave one of them out")
        if self.run_id is not None:
            check_run_id(self.run_id)
            if len(self.seeds) > 1:
                raise RunError("--id names one run, and --seeds makes several")
        return loaded


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds in a text like `1,2,3`, at most a thousand. Raises RunError."""
    words = re.findall(r"[^,\s]+", text)
    seeds = tuple(int(word) for word in words if re.fullmatch("[0-9]{1,18}", word))
    if not words or len(set(seeds)) < len(words):
        raise RunError(f"--seeds {text}: expected different whole numbers, like 1,2,3")
    if len(seeds) > MOST_RUNS:
        raise RunError(f"--seeds: at most {MOST_RUNS} at a time, got {len(seeds)}")
    return seeds


def with_folder_data(loaded: LoadedPreset) -> LoadedPreset:
    """The preset with the names and sizes of its images in its experiment, if it trains on images in folders.

    The set's own name does not matter: it is this machine's. Raises DataMissing, and DataError for incomplete folders.
    """
    name = loaded.preset.data.name
    if not FOLDER_SET.fullmatch(name):
        return loaded
    # numpy takes a tenth of a second to import.
    from rbp_engine.data.readers.image_folders import content_digest, list_folder_set

    return loaded.with_contents("data.name", content_digest(list_folder_set(catalogued(name).require().path or Path())))
