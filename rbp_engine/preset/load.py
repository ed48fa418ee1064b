"""Load a preset: the file, its parents, the overrides, the checks. List all that there are, and in what two differ."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rbp_engine.preset.experiment import experiment_hash
from rbp_engine.preset.fields import by_key, settings, values_of
from rbp_engine.preset.find import (
    all_presets,
    find_by_name,
    find_preset,
    is_path,
    missing_message,
    shown,
)
from rbp_engine.preset.layers import Layers, Origin, stack, value_at
from rbp_engine.preset.overrides import Override, parse_overrides
from rbp_engine.preset.own_code import (
    OUTSIDE,
    OwnCode,
    digests,
    inside_a_run,
    leads_out_of_a_run,
    names_of_code,
    own_file,
    problem_together,
    read_own_code,
)
from rbp_engine.preset.pretrained import with_weights
from rbp_engine.preset.sweep.check import read_sweep
from rbp_engine.preset.sweep.section import SweepSection
from rbp_engine.preset.validate import place, validate
from rbp_engine.settings.documents import Document, dotted, parse_document, read_document, usable
from rbp_engine.settings.problems import PresetError, Problem
from rbp_engine.settings.spelling import describe_value

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

MOST_IN_A_CHAIN = 32


@dataclass(frozen=True)
class Teacher:
    """The file of weights that a preset distills from, and its SHA-256; `run` is the run whose code it needs."""

    file: Path
    digest: str
    run: Path | None = None


@dataclass(frozen=True)
class LoadedPreset:
    """A checked preset and its origin.

    `label` is its name, with the network, neuron or data set that an override has replaced. `sources` maps every dotted
    key to "file:line", "override" or "default". `experiment` is the hash that runs of the same experiment share.
    `own_code` has the user's own files, by the field that names one; `run` is the folder of the run whose copies they
    are, if they are any. `contents` has the hash of what another field names, which stands for it in the experiment:
    `rbp_engine/run/teacher.py` finds that of the teacher, and `request.py` beside it that of images in folders.
    `sweep` is what `rbp sweep` varies, None if the preset says nothing of it; no run reads it. `parent` is the file
    that the preset extends, None without one.
    """

    preset: "Preset"
    name: str
    label: str
    path: Path
    sources: dict[str, str]
    experiment: str
    own_code: dict[str, OwnCode]
    teacher: Teacher | None = None
    run: Path | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    sweep: SweepSection | None = None
    parent: Path | None = None

    def with_contents(self, key: str, digest: str, own_code: Mapping[str, OwnCode] | None = None) -> "LoadedPreset":
        """The same with the hash of what the field `key` names in its experiment, and more own code."""
        contents, code = {**self.contents, key: digest}, {**self.own_code, **(own_code or {})}
        experiment = experiment_hash(self.preset, digests(self.own_code) | contents)
        return replace(self, contents=contents, own_code=code, experiment=experiment)

    def with_run(self, **settings: Any) -> Self:
        """The same with settings of its section `run` replaced, none of which makes it another experiment."""
        run = self.preset.run.model_copy(update=settings)
        return replace(self, preset=self.preset.model_copy(update={"run": run}))


def load_preset(name: str, overrides: Sequence[str] = (), *, code: Path | None = None) -> LoadedPreset:
    """Load a preset by path or name, merged with its parents and overridden by `key=value` words.

    `code` is the folder with the user's code if the preset is a run's own, which has no parent and names no other code.

    Raises `PresetError` with all problems: a preset that is not found or readable, an `extends` that is not found or
    circular, and invalid settings or overrides.
    """
    return load_document(_read(find_preset(name)), overrides, code)


def load_text(text: str, path: Path, overrides: Sequence[str] = ()) -> LoadedPreset:
    """Load a preset from a text as if it were in the file `path`, so that editors can check it before writing.

    Raises `PresetError` as `load_preset` does.
    """
    return load_document(usable(parse_document(text, path), PresetError, shown(path)), overrides)


def load_document(document: Document, overrides: Sequence[str] = (), code: Path | None = None) -> LoadedPreset:
    """Load a preset from a file that has been read; otherwise as `load_preset`."""
    path = document.path
    source = shown(path)
    if code is not None:
        _refuse_parent(document)
    documents = _with_parents(document)
    layers = stack([(document, shown(document.path)) for document in documents])
    own = {section: value_at(layers.values, (section, "name")) for section in ("model", "neuron", "data")}
    words, problems = parse_overrides(overrides)
    sweep, its_problems = read_sweep(documents)
    layers.override(words)
    try:
        preset = with_weights(validate(layers, source, [*problems, *its_problems]), layers, source)
        own_code = _own_code(preset, layers, source, code)
    except PresetError as error:
        if all(problem.source in overrides for problem in error.problems):  # the file is right
            raise PresetError(f"settings given with {source}", error.problems) from None
        raise
    return LoadedPreset(
        preset=preset,
        name=path.stem,
        label=_label(path.stem, preset, own),
        path=path.absolute(),
        sources=_sources(layers),
        experiment=experiment_hash(preset, digests(own_code)),
        own_code=own_code,
        run=code.parent if code is not None and own_code else None,
        sweep=sweep,
        parent=documents[1].path if documents[1:] else None,
    )


def _label(name: str, preset: "Preset", own: dict[str, Any]) -> str:
    """The name, followed by the network, neuron and data set if they are not those in the preset's files."""
    others = [
        inside_a_run(getattr(preset, section).name)
        for section, written in own.items()
        if getattr(preset, section).name != (written or type(getattr(preset, section))().name)
    ]
    return " · ".join([name, *others])


def _own_code(preset: "Preset", layers: Layers, source: str, code: Path | None) -> dict[str, OwnCode]:
    """The user's own files by the field that names them. Names are relative to the file with the field or to `code`; in
    an override, to the working directory."""
    found: dict[str, OwnCode] = {}
    problems: list[Problem] = []
    for path, value in names_of_code(preset).items():
        if own_file(value) is None:
            continue
        key, origin = dotted(path), layers.origin(path) or Origin()
        folder = (code or Path(origin.file).parent) if origin.file else Path()
        try:
            found[key] = read_own_code(value, folder, copied=code is not None and bool(origin.file))
        except OSError as error:
            message = f"cannot read {shown(Path(error.filename))}: {error.strerror}"
            problems.append(place(layers, source, path, message))
        except ValueError as error:
            problems.append(place(layers, source, path, str(error)))
    if clash := problem_together(found):
        problems.append(Problem(*clash))
    if problems:
        raise PresetError(source, problems)
    return found


def read_resolved(path: Path, overrides: Iterable[Override] = ()) -> "Preset":
    """Read the complete preset of a run, as `resolved_toml` writes it, from exactly this file, with `overrides`.

    Raises `PresetError`; `extends`, and code that is not in the run's folder of code, are refused.
    """
    return _resolved(_read(path), overrides)


def parse_resolved(text: str, path: Path) -> "Preset":
    """The complete preset in a text from the file `path`, otherwise as `read_resolved`."""
    return _resolved(usable(parse_document(text, path), PresetError, shown(path)))


def _resolved(document: Document, overrides: Iterable[Override] = ()) -> "Preset":
    source = shown(document.path)
    _refuse_parent(document)
    if "sweep" in document.values:
        message = "a resolved preset is of one run, and a sweep of several"
        raise PresetError(source, [Problem("sweep", message, document.line(("sweep",)))])
    layers = stack([(document, source)])
    layers.override(overrides)
    preset = validate(layers, source)
    outside = [
        Problem(dotted(path), f"{OUTSIDE}, got {describe_value(value)}", document.line(path))
        for path, value in names_of_code(preset).items()
        if leads_out_of_a_run(value)
    ]
    if outside:
        raise PresetError(source, outside)
    return preset


def _refuse_parent(document: Document) -> None:
    if "extends" in document.values:
        raise _bad_extends(document, "a resolved preset has no parent")


def _read(path: Path) -> Document:
    return usable(read_document(path), PresetError, shown(path))


def _with_parents(document: Document) -> list[Document]:
    """The document, its parent, the parent's parent, and so on."""
    documents = [document]
    visited = {os.path.realpath(document.path)}
    while "extends" in documents[-1].values:
        path = _parent(documents[-1])
        if (real := os.path.realpath(path)) in visited:
            loop = " -> ".join([*(shown(earlier.path) for earlier in documents), shown(path)])
            raise _bad_extends(documents[-1], f"extends itself: {loop}")
        if len(documents) == MOST_IN_A_CHAIN:
            raise _bad_extends(documents[-1], f"one too many: already {MOST_IN_A_CHAIN} presets extend one another")
        visited.add(real)
        documents.append(_read(path))
    return documents


def _parent(document: Document) -> Path:
    name = document.values["extends"]
    if not isinstance(name, str) or not name:
        raise _bad_extends(document, "expected the name of one preset, as a string")
    beside = document.path.parent / (name if is_path(name) else f"{name}.toml")
    found = beside if os.path.lexists(beside) else None if is_path(name) else find_by_name(name)
    if found is None:
        message = f"no such file: {shown(beside)}" if is_path(name) else missing_message(name)
        raise _bad_extends(document, message)
    return found


def _bad_extends(document: Document, message: str) -> PresetError:
    return PresetError(shown(document.path), [Problem("extends", message, document.line(("extends",)))])


def _sources(layers: Layers) -> dict[str, str]:
    """Where every field was written, and every key of a field that is a table."""
    sources = dict.fromkeys(by_key(), "default")
    for field_path in [tuple(key.split(".")) for key in sources]:
        value = value_at(layers.values, field_path)
        entries = [(*field_path, entry) for entry in value] if isinstance(value, dict) else []
        for path in (field_path, *entries) if value is not None else ():
            if (origin := layers.origin(path)) is not None:
                sources[dotted(path)] = "override" if origin.word is not None else f"{origin.file}:{origin.line}"
    return sources


@dataclass(frozen=True)
class PresetEntry:
    """A preset in the list; `group` is its data set. Of a broken one only the name and its `problems` are known."""

    name: str
    path: Path
    title: str
    group: str
    problems: tuple[Problem, ...]
    preset: "Preset | None" = None


def list_presets() -> list[PresetEntry]:
    """Every preset of the search order, by data set and name.

    Of two presets with the same name only the first is listed, since the name refers to it. A broken preset is listed
    with its problems; nothing is raised.
    """
    return sorted(map(_entry, all_presets().values()), key=lambda entry: (entry.group, entry.name))


def _entry(path: Path) -> PresetEntry:
    try:
        loaded = load_preset(str(path))
    except PresetError as error:
        return PresetEntry(path.stem, path.absolute(), "", "", error.problems)
    return PresetEntry(loaded.name, loaded.path, loaded.preset.title, loaded.preset.data.name, (), loaded.preset)


@dataclass(frozen=True)
class Setting:
    """A setting that differs between two presets; `role` is "result", "cost" or "place"."""

    key: str
    here: Any
    there: Any
    role: str

    @property
    def is_copy(self) -> bool:
        """Whether it differs only in that a run names its own copy of a file."""
        return isinstance(self.there, str) and self.here == inside_a_run(self.there)


def differences(here: "Preset", there: "Preset") -> list[Setting]:
    """Every setting that differs, in the order of preset files; defaults count like written values."""
    ours, theirs = values_of(here), values_of(there)
    return [
        Setting(key, ours[key], theirs[key], info.role) for key, info in settings().items() if ours[key] != theirs[key]
    ]


def against_parent(loaded: LoadedPreset) -> tuple[str, list[Setting]]:
    """The name of the preset that this one extends, "defaults" if none, and what differs. Raises `PresetError`."""
    there = load_text("", loaded.path) if loaded.parent is None else load_preset(str(loaded.parent))
    return "defaults" if loaded.parent is None else there.name, differences(loaded.preset, there.preset)
