"""An earlier run as the start of another one: its settings as words, and what changes of them mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.preset import (
    SHORT_NAMES,
    LoadedPreset,
    PresetError,
    differences,
    load_preset,
    setting_word,
)
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.preset.search import is_path, shown
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.request import LaunchRequest

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
        means the preset's value.
        """
        said: dict[str, str] = {}  # of two words for one setting, the later one counts
        for word in typed:
            name = word.partition("=")[0].strip()
            said[SHORT_NAMES.get(name, name)] = word
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
            if setting.key in ELSEWHERE or _same_code(setting.here, setting.there):
                continue
            there = setting.there
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


def _same_code(here: object, there: object) -> bool:
    return isinstance(there, str) and inside_a_run(there) == here
