"""A sweep as a user asks for it, in a shell, in the launch form, or in the process that drives a search.

On the command line it is written as words: `method=bptt,rate_m T=2,4,6 lr=0.01..0.5:log epochs=6`.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rbp_engine.preset import LoadedPreset, PresetError, Problem
from rbp_engine.preset.fields import by_key, is_whole
from rbp_engine.preset.overrides import parse_overrides
from rbp_engine.preset.sweep.section import SweepSection, Varied, key_of, split_values
from rbp_engine.preset.validate import problems_of_value
from rbp_engine.run.request import LaunchRequest

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?P<log>:log)?")


@dataclass(frozen=True)
class SweepWords:
    """Settings with one value, which all runs share; with several, each of them in the grid; and those that are drawn
    from a range."""

    fixed: tuple[str, ...] = ()
    varied: tuple[Varied, ...] = ()
    drawn: tuple[Varied, ...] = ()

    @functools.cached_property
    def keys(self) -> frozenset[str]:
        """The dotted keys of all settings in the words."""
        return frozenset([*map(key_of, self.fixed), *(one.key for one in (*self.varied, *self.drawn))])


def varies(word: str) -> bool:
    """Whether a word makes a sweep of what it is for: it gives its setting several values, or a range."""
    text = word.partition("=")[2]
    if _RANGE.fullmatch(text.strip()):
        return True
    return len(split_values(text)) > 1 and not _is_list(key_of(word), text)


def parse_words(words: Sequence[str]) -> SweepWords:
    """Sort the words; of two for one setting the later one counts.

    Raises PresetError with every problem of a single word or value; whether values fit together is not checked.

    A comma in brackets or quotes belongs to its value; so does each one of a list of strings, as `run.tags=a,b`.
    """
    _, problems = parse_overrides(words)
    sorted_words: dict[str, str | Varied] = {}
    for word in words:
        name, _, text = word.partition("=")
        name, key = name.strip(), key_of(word)
        values = split_values(text)
        drawn = _RANGE.fullmatch(text.strip())
        sorted_words.pop(key, None)
        if drawn is not None:
            whole = drawn["low"].isdecimal() and drawn["high"].isdecimal() and is_whole(key)
            one = Varied(name, (), float(drawn["low"]), float(drawn["high"]), bool(drawn["log"]), whole)
            problems += [Problem(name, one.fault, source=word)] if one.fault else []
            sorted_words[key] = one
        elif len(values) == 1 or _is_list(key, text):
            sorted_words[key] = word
        elif "" in values or len(set(values)) < len(values):
            problems.append(Problem(name, "expected different values, as method=bptt,rate_m", source=word))
        elif key == "run.seed":
            problems.append(Problem(name, "several seeds are given with --seeds", source=word))
        else:
            sorted_words[key] = Varied(name, values)
    problems += [problem for one in sorted_words.values() for problem in _wrong_values(one)]
    if problems:
        raise PresetError("rbp sweep", problems)
    fixed = tuple(one for one in sorted_words.values() if isinstance(one, str))
    several = [one for one in sorted_words.values() if isinstance(one, Varied)]
    listed, ranges = (tuple(one for one in several if bool(one.values) is known) for known in (True, False))
    return SweepWords(fixed, listed, ranges)


def _wrong_values(one: str | Varied) -> Iterator[Problem]:
    for override in parse_overrides((one,) if isinstance(one, str) else one.words)[0]:
        for message in problems_of_value(override.key, override.value):
            yield Problem(override.key, message, source=override.word)


def _is_list(key: str, text: str) -> bool:
    """Whether commas in a text belong to its value, as in `run.tags=a,b`."""
    return not text.lstrip().startswith("[") and key in by_key() and by_key()[key].takes_several_words


@dataclass(frozen=True)
class SweepRequest:
    """What replaces the `[sweep]` of the preset; where it is empty, that or the default holds.

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

    @functools.cached_property
    def section(self) -> SweepSection:
        """`[sweep]` of the preset, with what the command line says in the place of what it says itself.

        A setting that is typed takes the place of the preset's own values for it. Raises UserError as `base` does.
        """
        written, words = self.base.sweep or SweepSection(), self.words
        own_seeds = () if self.base.sources.get("run.seed") == "override" else written.seeds
        listed = (tuple(word for word in one if key_of(word) not in words.keys) for one in written.listed)
        return replace(
            written,
            seeds=self.request.seeds or own_seeds,
            trials=self.trials or self.draws or written.trials,
            search=self.search or ("" if self.draws else written.search),
            prune=self.pruner or written.prune,
            grid=(*(one for one in written.grid if one.key not in words.keys), *words.varied),
            listed=tuple(dict.fromkeys(listed)),
            drawn=(*(one for one in written.drawn if one.key not in words.keys), *words.drawn),
        )

    @property
    def shared(self) -> LaunchRequest:
        """The request with what all runs have in common: their seeds, too, and that they wait in the queue."""
        options = replace(self.request.options, gpus=self.request.options.gpus or "auto")
        return replace(self.request, overrides=self.words.fixed, seeds=self.section.seeds, options=options)

    @property
    def searches(self) -> bool:
        """Whether values are chosen one trial after the other. Raises UserError if the preset is invalid."""
        return bool(self.section.search)

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
