"""`rbp presets new`, `edit` and `diff`: write your own presets and compare them."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from rbp_engine.printable import one_line
from rbp_tui.cli import completion
from rbp_tui.cli.options import Json
from rbp_tui.cli.output import print_json, print_rich, say
from rbp_tui.cli.settings_command import PresetName, Settings
from rbp_tui.text.styled import paragraph


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples:  rbp presets new wide --from cifar10-resnet18 T=6   ·   rbp presets new small epochs=5"
    )(new)
    group.command(epilog="Example:  rbp presets edit wide")(edit)
    group.command(epilog="Examples:  rbp presets diff wide   ·   rbp presets diff cifar10-resnet18 cifar100-resnet18")(
        diff
    )


def new(
    name: Annotated[str, typer.Argument(help="Its name, or the path of its file.", show_default=False)],
    words: Settings = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PRESET",
            help="The preset that it extends; the defaults if left out.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ] = None,
    user: Annotated[
        bool, typer.Option("--user", help="Put it among your own presets, found from every folder, not in ./presets.")
    ] = False,
) -> None:
    """Write a new preset that holds only what differs from another one."""
    from rbp_engine.preset.author import create_preset, place_of
    from rbp_engine.preset.search import shown

    target = place_of(name, for_user=user)
    create_preset(target, source, words or [])
    say("wrote {}; next: rbp presets edit {} · rbp train {}", shown(target), name, name)


def edit(name: PresetName) -> None:
    """Edit a preset in $VISUAL or $EDITOR; its file changes once the new text is a valid preset.

    Until then it is a draft, which you can continue later. A preset that comes with rbp is edited as a copy.
    """
    from rbp_engine.preset.author import draft_of
    from rbp_engine.preset.search import find_preset, shown

    path = find_preset(name)
    target = _own_file(path)
    before = _contents(path)
    draft = draft_of(target)
    if not (draft.exists() and _confirmed(f"Continue the draft {shown(draft)} (no: discard it)?", default=True)):
        _write(draft, before)
    while True:
        _open(draft, before)
        content = _contents(draft)
        if content == before:
            draft.unlink()
            say("nothing was changed")
            return
        problem = _problem(content, target)
        if problem is None:
            break
        say("[red]✗[/] {}", paragraph(problem))
        if _confirmed("Edit again?", default=True):
            continue
        if _confirmed(f"Write it to {shown(target)} as it is?", default=False):
            break
        _leave(draft, name)
    overwritten = os.path.lexists(target) and _contents(target) != before
    if overwritten and not _confirmed(f"{shown(target)} has changed meanwhile. Write over it?", default=False):
        _leave(draft, name)
    _write(target, content)
    draft.unlink()
    say("wrote {}", shown(target))


def diff(
    preset: PresetName,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET",
            help="The other preset; its parent if left out.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings in which a preset differs from its parent, or from another preset.

    Of the roles, "result" changes what is learned, "cost" only time or memory, "place" only where a run lives.
    """
    from rbp_engine.preset import against_parent, differences, load_preset
    from rbp_tui.text.settings_table import settings_table

    here = load_preset(preset)
    if other is None:
        against, found = against_parent(here)
    else:
        there = load_preset(other)
        against, found = there.name, differences(here.preset, there.preset)
    if as_json:
        print_json({"here": here.name, "there": against, "differences": [asdict(setting) for setting in found]})
    elif found:
        print_rich(settings_table(found, here.name, against))
    else:
        say("{} has the same settings as {}", here.name, against)


def _contents(path: Path) -> bytes:
    from rbp_engine.preset import PresetError, Problem
    from rbp_engine.preset.search import shown
    from rbp_engine.untrusted_files import TOML_LIMIT, read_untrusted

    try:
        return read_untrusted(path, TOML_LIMIT)
    except OSError as error:
        raise PresetError(shown(path), [Problem("", f"cannot be read: {error.strerror}")]) from error


def _write(path: Path, content: bytes) -> None:
    from rbp_engine.preset import PresetError, Problem
    from rbp_engine.preset.search import shown
    from rbp_engine.settings.files import write_settings

    try:
        write_settings(path, content)
    except OSError as error:
        raise PresetError(shown(path), [Problem("", f"cannot be written: {error.strerror}")]) from error


def _own_file(path: Path) -> Path:
    """The file that an edit writes: the preset itself, or a new one in ./presets if it is not the user's."""
    from rbp_engine.preset import PresetError, Problem
    from rbp_engine.preset.author import is_bundled, place_of
    from rbp_engine.preset.search import shown

    bundled = is_bundled(path)
    if not bundled and os.access(path, os.W_OK):
        return path
    target = place_of(path.stem)
    why = f"{path.stem} comes with rbp" if bundled else f"{shown(path)} cannot be written"
    if target.exists():
        raise PresetError(shown(path), [Problem("", f"{why}, and there is a {shown(target)} already: edit that one")])
    if not _confirmed(f"{why}. Edit a copy, {shown(target)}?", default=True):
        raise typer.Exit(0)
    return target


def _open(draft: Path, before: bytes) -> None:
    """Run the editor; if that fails, remove a draft in which nothing was written."""
    from rbp_tui.cli.presets.editor import EditorError, edit_file

    try:
        edit_file(draft)
    except EditorError:
        if _contents(draft) == before:
            draft.unlink()
        raise


def _problem(content: bytes, target: Path) -> str | None:
    from rbp_engine.preset import PresetError, load_text

    try:
        load_text(content.decode("utf-8-sig"), target)
    except PresetError as error:
        return str(error)
    except UnicodeDecodeError as error:
        return f"not UTF-8 text (byte 0x{content[error.start]:02x})"
    return None


def _leave(draft: Path, name: str) -> NoReturn:
    from rbp_engine.preset.search import shown

    say("kept as the draft {}; rbp presets edit {} continues it", shown(draft), name)
    raise typer.Exit(2)


def _confirmed(question: str, *, default: bool) -> bool:
    return typer.confirm(one_line(question), default=default, err=True)
