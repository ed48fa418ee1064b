"""Fill the launch form from a run, parse its fields into a request, and warn about it."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.preset import (
    LoadedPreset,
    PresetError,
    differences,
    load_preset,
    setting_word,
)
from rbp_engine.preset.find import is_path, reference, shown
from rbp_engine.preset.sweep.section import key_of, refuse_twice
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.request import LaunchOptions, LaunchRequest, parse_seeds
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import runs_directory
from rbp_engine.vocabulary import RATE_METHODS
from rbp_tui.text.run_text import there_already

# They have fields of their own in the form.
ELSEWHERE = ("run.seed", "run.device", "run.name", "run.tags")


@dataclass(frozen=True)
class EarlierRun:
    """A run to repeat, as `rbp train --like` does: with the settings and the code that are saved in it.

    `words` has its settings that differ from its preset, by dotted key, and `usual` the words for the preset's values.
    """

    request: LaunchRequest
    loaded: LoadedPreset
    words: dict[str, str]
    usual: dict[str, str]

    def changes(self, typed: Sequence[str]) -> list[str]:
        """The words that make another run of this one, where `typed` began as `words`.

        A word as it was says nothing new, and the run's own code is not looked for elsewhere. One that was taken away
        means the preset's value, and one that was left counts no more after another for its setting.
        """
        said = {key_of(word): word for word in typed}  # of two words for one setting, the later one counts
        new = [word for key, word in said.items() if word != self.words.get(key)]
        return [*new, *(word for key, word in self.usual.items() if key not in said)]


def earlier_run(run: RunDirectory) -> EarlierRun:
    """Read a run in order to repeat it.

    Raises UserError if it cannot be read, and RunError for one that would execute code that this user has not launched.
    """
    request = LaunchRequest.like(run)
    loaded = request.load()
    try:
        request.require_trust(loaded)
    except trust.Untrusted as error:
        raise RunError(f"{error.why}; if you trust it: rbp train --like {run.id} --trust") from error
    words, usual = {}, {}
    if (preset := _preset_of(run, loaded)) is not None:
        for setting in differences(loaded.preset, preset.preset):
            there = setting.there
            if setting.key in ELSEWHERE or setting.is_copy:
                continue
            if own := preset.own_code.get(setting.key):  # in a word it is relative to here, not to the preset
                there = f"{shown(own.path)}:{there.rpartition(':')[2]}"
            words[setting.key] = setting_word(setting.key, setting.here)
            usual[setting.key] = setting_word(setting.key, there)
    return EarlierRun(request, loaded, words, usual)


def _preset_of(run: RunDirectory, loaded: LoadedPreset) -> LoadedPreset | None:
    """The preset that a run was started from, as it is now; None if it is gone or broken."""
    source = read_run_json(run).source
    # A path in somebody else's run may lead anywhere.
    own = bool(source) and trust.is_own(run) and Path(source).is_file()
    if not own and is_path(loaded.name):
        return None
    try:
        return load_preset(source if own else loaded.name)
    except PresetError:
        return None


@dataclass(frozen=True)
class TypedRequest:
    """A preset, or an earlier run to repeat, and the fields of the form as typed.

    Empty fields keep the values of the preset or the run; name and tags of a run are taken away if they are emptied.
    """

    path: Path
    name: str
    runs: Path
    overrides: str = ""
    seeds: str = ""
    sweep: str = ""
    device: str = ""
    processes: str = ""
    gpus: str = ""
    run_name: str = ""
    tags: str = ""
    run_id: str = ""
    again: EarlierRun | None = None

    def request(self) -> LaunchRequest:
        """Parse the fields. Raises UserError if they are invalid or contradict each other."""
        base = self.again.request if self.again else self._of_preset()
        options = self._options(base.options)
        seeds = parse_seeds(self.seeds) if self.seeds.strip() else ()
        run_id = self.run_id.strip() or None
        if run_id and os.path.lexists(self.runs / run_id):
            raise RunError(f"the run {run_id} exists already; choose another id")
        if (nodes := options.takes.nodes) > 1 and run_id is None:
            raise UserError(f"run id: a run on {nodes} nodes needs one; then type the command on each of them")
        request = replace(
            base,
            overrides=(*self._settings(has_seeds=bool(seeds)), *self._place(seeds)),
            seeds=seeds if len(seeds) > 1 else (),
            options=options,
            run_id=run_id,
        )
        return replace(request, typed=(*request.command, "--detach"))

    def _of_preset(self) -> LaunchRequest:
        runs_dir = None if self.runs.absolute() == runs_directory() else self.runs
        return LaunchRequest(reference(self.path, self.name), options=LaunchOptions(runs_dir))

    def _options(self, usual: LaunchOptions) -> LaunchOptions:
        options = replace(usual, gpus=self.gpus.strip() or usual.gpus)
        if not (typed := self.processes.strip()):
            return options
        if not re.fullmatch("[1-9][0-9]{0,3}", typed):
            raise UserError(f"processes: expected a number from 1 on, got '{typed}'")
        takes = replace(usual.takes, processes=int(typed))
        return options if takes == usual.takes else replace(options, resources=takes)

    def _settings(self, *, has_seeds: bool) -> list[str]:
        """The words of the settings; of an earlier run, those that make a difference to it."""
        try:
            words = shlex.split(self.overrides)
        except ValueError:
            raise UserError("settings: a quote is not closed") from None
        if has_seeds and any(word.startswith(("seed=", "run.seed=")) for word in words):
            raise UserError("seeds: the settings have a seed already; give it in one place")
        refuse_twice([word for word in words if not (self.again and word in self.again.words.values())])
        return self.again.changes(words) if self.again else words

    def _place(self, seeds: tuple[int, ...]) -> list[str]:
        """The words for the fields of the section `run`, where they are not as they would be without a word."""
        was = self.again.loaded.preset.run if self.again else None
        device, name, tags = self.device.strip(), self.run_name.strip(), re.findall(r"[^,\s]+", self.tags)
        words = [f"run.device={device}"] if device and (was is None or device != was.device) else []
        if name != (was.name if was else ""):
            words.append(f"run.name={name}")
        if tags != (was.tags if was else []):
            words.append(f"run.tags={json.dumps(tags, ensure_ascii=False)}")
        if len(seeds) == 1 and (was is None or seeds[0] != was.seed):
            words.append(f"seed={seeds[0]}")
        return words


def typed_again(run: RunDirectory, runs: Path) -> TypedRequest:
    """The form filled from a run: the settings in which it differs from its preset, and where and how it ran.

    Raises UserError if the run cannot be read, or would execute code that this user has not agreed to.
    """
    again = earlier_run(run)
    place, options = again.loaded.preset.run, again.request.options
    return TypedRequest(
        run.preset_toml,
        f"{again.loaded.label} {short_id(run.id)}",
        runs,
        overrides=shlex.join(again.words.values()),
        seeds=str(place.seed),
        device=place.device,
        processes=str(options.takes.processes) if options.takes.processes > 1 else "",
        gpus=options.gpus or "",
        run_name=place.name,
        tags=" ".join(place.tags),
        again=again,
    )


def warnings(request: LaunchRequest, loaded: LoadedPreset, records: Sequence[RunRecord]) -> list[str]:
    """Warnings before the runs of a request are started, as sentences; `loaded` is its preset."""
    found = []
    usual = load_preset(request.preset, code=request.code).preset.method.timesteps
    method, steps = loaded.preset.method, loaded.preset.method.timesteps
    if method.name in RATE_METHODS and method.loss_scale == "1/T" and steps > 1 and steps != usual:
        found.append(f"T={steps}: the rate gradient is scaled by 1/{steps} (loss_scale)")
    return [*found, *there_already(records, loaded.experiment, request.seeds_of(loaded))]
