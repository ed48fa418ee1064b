"""A resolved preset as TOML that says where each value comes from."""

import re
from pathlib import PurePath

from rich.text import Text

from rbp_engine.preset import LoadedPreset, resolved_toml
from rbp_engine.preset.find import shown
from rbp_engine.preset.resolved import as_toml
from rbp_engine.preset.schema import Preset
from rbp_engine.printable import one_line
from rbp_engine.report.paper import published
from rbp_tui.text import format as fmt

COLUMN = 34  # where comments begin, unless the value is longer


def preset_text(loaded: LoadedPreset) -> Text:
    """The complete TOML of a preset, with the source of every value as a comment and defaults dimmed.

    The paper's figures and the experiment come last, where they are visible on a small terminal.
    """
    names = _file_names(loaded)
    text = Text()
    for index, file in enumerate(names):
        text.append(_comment(f"inherits from {file}" if index else file), "dim")
    blocks = resolved_toml(loaded.preset).strip("\n").split("\n\n")
    for block in sorted(blocks, key=lambda block: block.startswith("[paper]")):
        text.append("\n")
        _append_block(text, block, loaded, names)
    if loaded.sweep is not None:
        text.append(f"\n{as_toml({'sweep': loaded.sweep.written}).strip()}\n")
        text.append(
            _comment(f"rbp sweep {loaded.name} trains all of these; rbp train {loaded.name}, what is above"), "dim"
        )
    text.append("\n")
    text.append(_comment(f"experiment {loaded.experiment[:16]}"), "dim")
    text.append(_comment(_paper_sentence(loaded.preset)), "dim")
    text.rstrip()
    return text


def _file_names(loaded: LoadedPreset) -> dict[str, str]:
    """Every file that supplied a value, the preset itself first, and a name for it that is short and unique."""
    own = shown(loaded.path)
    files = dict.fromkeys([own, *(source.rpartition(":")[0] for source in loaded.sources.values() if ":" in source)])
    bases = [PurePath(file).name for file in files]
    return {file: base if bases.count(base) == 1 else file for file, base in zip(files, bases, strict=True)}


def _append_block(text: Text, block: str, loaded: LoadedPreset, names: dict[str, str]) -> None:
    """Append one section, or the keys before the first."""
    header = re.match(r"\[(\w+)\]", block)
    section = f"{header[1]}." if header else ""
    for line in block.split("\n"):
        pair = re.match(r"(\w+) = ", line)
        if pair is None:
            text.append(f"{line}\n", "bold" if line.startswith("[") else "")
            continue
        origin = _origin(f"{section}{pair[1]}", loaded.sources, names)
        text.append(line.ljust(COLUMN) if origin else line, "" if origin else "dim")
        text.append(f"  {_comment(origin)}" if origin else "\n", "dim")


def _origin(key: str, sources: dict[str, str], names: dict[str, str]) -> str:
    """The source of a value, and of table entries that have another one; empty for a default."""

    def brief(source: str) -> str:
        file, colon, line = source.rpartition(":")
        return f"{names[file]}:{line}" if colon else source

    own = sources[key]
    others = {inner: source for inner, source in sources.items() if inner.startswith(f"{key}.") and source != own}
    parts = [] if own == "default" else [brief(own)]
    return ", ".join([*parts, *(f"{inner.rpartition('.')[2]}: {brief(source)}" for inner, source in others.items())])


def _comment(text: str) -> str:
    # A file may have any name; a line break in it must not end the comment.
    return f"# {one_line(text)}\n"


def _paper_sentence(preset: Preset) -> str:

    what = f"{fmt.method(preset.method.name)}, T={preset.method.timesteps}"
    figure = published(preset)
    if figure is None:
        return f"the paper has no figure for {what}"
    return f"paper: {figure if isinstance(figure, str) else f'{fmt.percent(figure)} % top-1'} for {what}"
