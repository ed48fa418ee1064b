"""The run card: the important settings, the run's origin, and its differences from another run or its preset."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from rbp_engine.preset import PresetError, load_preset, read_resolved
from rbp_engine.preset.load import differences
from rbp_engine.printable import one_line
from rbp_engine.report.names import network, value_text
from rbp_engine.run.files.annotations import read_annotations
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import RunJson, read_run_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.store.run_settings import read_settings
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import short

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.preset.sections.network import NeuronSection

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CardFacts:
    """The contents of the card: names and values, and the differences from `other`, named by run or preset."""

    rows: Rows
    other: str = ""
    differs: Rows = ()


def read_facts(run: RunDirectory, baseline: RunDirectory | None) -> CardFacts:
    """Read the contents of the card, in a thread, since presets are slow to check. Reports what cannot be read."""
    origin, summary = read_run_json(run), read_summary(run)
    if summary is not None and summary.program:
        return CardFacts((("program", one_line(summary.program)), *_given(run), *_origin(run, origin)))
    try:
        preset = read_resolved(run.preset_toml)
    except PresetError as error:
        return CardFacts((("preset", one_line(str(error))), *_origin(run, origin)))
    other, there = _other(run, origin, baseline)
    differs: Rows = ()
    if there is not None:
        differs = tuple(
            (one.key, f"{value_text(one.here)} (not {value_text(one.there)})")
            for one in differences(preset, there)
            if one.role != "place" and one.key != "run.seed"
        )
    return CardFacts((*_settings(preset), *_origin(run, origin)), other, differs)


def _other(run: RunDirectory, origin: RunJson, baseline: RunDirectory | None) -> "tuple[str, Preset | None]":
    """What the run is compared with: the pinned run, else its preset."""
    try:
        if baseline is not None and baseline != run:
            return f"{short(baseline.id)}, the baseline", read_resolved(baseline.preset_toml)
        source = origin.source or origin.preset
        return origin.preset or source, load_preset(source).preset
    except PresetError:  # it has been moved or changed since
        return "", None


def _settings(preset: "Preset") -> Rows:
    neuron, optim, train = preset.neuron, preset.optim, preset.train
    arguments = f" {value_text(neuron.surrogate_args)}" if neuron.surrogate_args else ""
    warmup = f", {optim.warmup_epochs} warm-up" if optim.warmup_epochs else ""
    return (
        ("network", network(preset.model.name)),
        ("method", fmt.method(preset.method.name)),
        ("T", str(preset.method.timesteps)),
        *_neuron(neuron),
        ("surrogate", one_line(f"{neuron.surrogate}{arguments}")),
        ("lr", f"{optim.lr:g} {optim.schedule}{warmup}, {optim.name}"),
        ("batch", str(preset.data.batch_size)),
        ("epochs", str(train.epochs)),
        ("precision", train.precision),
    )


def _neuron(neuron: "NeuronSection") -> Rows:
    if neuron.name != "lif":  # it has none of LIF's settings
        return (("neuron", one_line(neuron.name)),)
    return (
        ("λ, V_th", f"{neuron.decay:g}, {neuron.threshold:g}"),
        ("reset", neuron.reset + (", detached" if neuron.detach_reset else "")),
    )


def _given(run: RunDirectory) -> Rows:
    """The settings that another program was given."""
    return tuple(
        (one_line(key.removeprefix("settings.")), value_text(value))
        for section in read_settings(run).sections
        for key, value in section.items()
    )


def _origin(run: RunDirectory, origin: RunJson) -> Rows:
    rows = []
    if origin.git:
        rows.append(("commit", one_line(f"{origin.git.commit[:10]}{' + changes' if origin.git.changed else ''}")))
    rows.append(("host", one_line(origin.host or "–")))
    annotations, summary = read_annotations(run), read_summary(run)
    if summary is not None and (tags := annotations.tags(summary)):
        rows.append(("tags", one_line(" ".join(tags))))
    if annotations.note:
        rows.append(("note", one_line(annotations.note)))
    return tuple(rows)


def card_text(facts: CardFacts) -> Text:
    """The card as two columns, with the differences below."""
    text = Text()
    for name, value in facts.rows:
        text.append(f"{name:<10}", style="dim").append(f"{value}\n")
    if facts.differs:
        text.append(f"\ndiffers from {one_line(facts.other)}\n", style="dim")
        for key, value in facts.differs:
            text.append(f"{key} ", style="").append(f"{value}\n", style="yellow")
    elif facts.other:
        text.append(f"\nas {one_line(facts.other)}", style="dim")
    return text
