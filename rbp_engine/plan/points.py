"""The plan of a sweep: every combination of settings and seed that it trains, each once."""

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rbp_engine.plan.request import SweepRequest
from rbp_engine.preset import LoadedPreset, PresetError, Problem
from rbp_engine.preset.fields import role_of
from rbp_engine.preset.overrides import short_name
from rbp_engine.preset.sweep.section import SweepSection, key_of
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.run_json import SweepRecord
from rbp_engine.run.request import MOST_RUNS, LaunchRequest
from rbp_engine.run.store.run_settings import processes_apart
from rbp_engine.run.store.store import RunRecord


def identity_of(experiment: str, seed: int | None, processes: int) -> str:
    """What the run of a point is found by: the SHA-256 (hexadecimal) of its experiment and seed, and of its processes
    if they are several with statistics of their own, else 0."""
    return hashlib.sha256(f"{experiment} {seed}{f' {processes}' if processes else ''}".encode()).hexdigest()


def run_identity(record: RunRecord) -> str:
    """That of a run."""
    return identity_of(record.summary.experiment, record.summary.seed, processes_apart(record))


@dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep: the overrides that tell its trial from the others, and all that it resolves to.

    A trial, numbered from 1, is a combination of settings; it has a point for each seed. It is trained by so many
    `processes`.
    """

    trial: int
    overrides: tuple[str, ...]
    loaded: LoadedPreset
    processes: int = 1

    @property
    def seed(self) -> int:
        return self.loaded.preset.run.seed

    @property
    def identity(self) -> str:
        """What its run is found by, wherever that is and whatever started it."""
        apart = self.processes > 1 and not self.loaded.preset.train.sync_bn
        return identity_of(self.loaded.experiment, self.seed, self.processes if apart else 0)


@dataclass(frozen=True)
class SweepPlan:
    """The points of a sweep, those of one seed behind each other. `request` is what all of them share.

    `keys` are the settings that vary, by dotted key.
    """

    name: str
    request: LaunchRequest
    keys: tuple[str, ...]
    points: tuple[SweepPoint, ...]

    @property
    def trials(self) -> dict[int, list[SweepPoint]]:
        """The points of each trial."""
        found: dict[int, list[SweepPoint]] = {}
        for point in self.points:
            found.setdefault(point.trial, []).append(point)
        return dict(sorted(found.items()))

    @property
    def presets(self) -> list[LoadedPreset]:
        """The preset of each trial, with its first seed."""
        return [points[0].loaded for points in self.trials.values()]

    def request_of(self, point: SweepPoint) -> LaunchRequest:
        """The request that creates the run of a point."""
        return replace(
            self.request,
            overrides=(*self.request.overrides, *point.overrides),
            seeds=(),  # `loaded` has it
            sweep=SweepRecord(one_line(self.name), point.trial),
        )


def plan_sweep(asked: SweepRequest) -> SweepPlan:
    """The plan of a sweep.

    Without a name, it is called after its preset, and if that has no `[sweep]` after what it varies. Raises UserError
    for anything that is invalid or contradictory, in whichever combination: PresetError with every problem, each once.
    """
    name, base, request, section = asked.name, asked.base, asked.shared, asked.section
    if not name.isprintable() or {"'", '"'} & set(name):
        raise RunError(f"--name {name}: no query could ask for it: leave quotes and invisible characters out")
    if asked.words.drawn and not section.trials:
        raise RunError(f"{asked.words.drawn[0].name} has a range: say how many times to draw from it, --random 20")
    if asked.draws and not section.drawn:
        raise RunError(f"--random {asked.draws}: no setting has a range to draw from, as lr=0.01..0.5:log")
    if asked.searches:
        raise RunError(f'search = "{section.search}" chooses settings as it goes: there is no plan of all of them')
    seeds = request.seeds_of(base)
    # Counted before they are listed: a grid of a few settings may have more combinations than fit into memory.
    grid = math.prod(len(one.words) for one in section.grid)
    count = grid * len(section.listed or [()]) * (section.trials if section.drawn else 1) * len(seeds)
    if count > MOST_RUNS:
        raise RunError(f"a sweep has at most {MOST_RUNS} runs, and this one would have {count}")
    combinations = list(combinations_of(section))
    loaded = load_each(request, combinations)
    kept = _different(combinations, loaded)
    points = tuple(
        SweepPoint(number, combination, preset.with_run(seed=seed), request.options.takes.world_size)
        for seed in seeds
        for number, (combination, preset) in enumerate(kept, start=1)
    )
    keys = dict.fromkeys(key_of(word) for combination in combinations for word in combination)
    varied = [] if base.sweep else sorted(map(short_name, keys), key=str.lower)
    return SweepPlan(name or "-".join([base.name, *varied]), request, tuple(keys), points)


def combinations_of(section: SweepSection) -> Iterator[tuple[str, ...]]:
    """The overrides of each trial. All combinations of a draw follow each other, so that they can be compared."""
    for draw in range(1, section.trials + 1) if section.drawn else (0,):
        drawn = tuple(one.word(draw) for one in section.drawn)
        for listed in section.listed or ((),):
            for combination in itertools.product(*(one.words for one in section.grid)):
                yield (*listed, *combination, *drawn)


def load_each(request: LaunchRequest, combinations: Iterable[tuple[str, ...]]) -> list[LoadedPreset]:
    """The preset of each combination. Raises PresetError with the problems of all of them, each once."""
    presets: list[LoadedPreset] = []
    problems: dict[tuple[str, str], Problem] = {}
    source = ""
    for words in combinations:
        try:
            presets.append(replace(request, overrides=(*request.overrides, *words)).load())
        except PresetError as error:
            source = error.source
            # What is wrong with one value, or with what the requests share, is the same in several of them.
            for problem in error.problems:
                problems.setdefault((problem.key, problem.message), problem)
    if problems:
        raise PresetError(source, problems.values())
    return presets


def _different(
    combinations: Sequence[tuple[str, ...]], presets: Sequence[LoadedPreset]
) -> list[tuple[tuple[str, ...], LoadedPreset]]:
    """The combinations with their presets. Draws may repeat each other, and count once.

    Raises RunError for others that train one and the same experiment, as settings do that only change what it costs, or
    where it is trained.
    """
    first: dict[str, tuple[tuple[str, ...], LoadedPreset]] = {}
    for words, loaded in zip(combinations, presets, strict=True):
        other, _ = first.setdefault(loaded.experiment, (words, loaded))
        if other != words:
            raise _same_experiment(other, words)
    return list(first.values())


def _same_experiment(*combinations: tuple[str, ...]) -> RunError:
    """The error of two combinations that no comparison could tell apart."""
    one, two = (" ".join(words) or "the preset" for words in combinations)
    names = dict.fromkeys(word.partition("=")[0] for words in combinations for word in words)
    idle = [name for name in names if role_of(key_of(name)) != "result"]
    why = f", as {' and '.join(idle)} changes nothing that is learned" if idle else ""
    return RunError(f"{one} and {two} are one and the same experiment{why}: leave one of them out")
