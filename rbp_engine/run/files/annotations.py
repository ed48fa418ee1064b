"""Tags, a note and a place in the archive that users give a run later, in a file that no worker touches."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rbp_engine.codec import convert
from rbp_engine.lease import LeaseHeld, taken
from rbp_engine.printable import NO_TEXT, Line, Lines
from rbp_engine.run.errors import RunError, cannot
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, load_json, read_record, unreadable_refused, write_json
from rbp_engine.run.files.summary import Summary

LONGEST_TAG = 60
LEASE = "annotations.lock"
SIGNS = ("", "+", "-")  # no tag begins with a sign, and no tag is empty


@dataclass(frozen=True)
class Annotations:
    """Tags `added` to and `removed` from those of the preset, and a note of any number of lines.

    `archived`: the run is kept, but out of the way.
    """

    added: tuple[Line, ...] = ()
    removed: tuple[Line, ...] = ()
    note: Lines = NO_TEXT
    archived: bool = False

    def tags(self, summary: Summary) -> tuple[str, ...]:
        """The tags of the run, each once, those of its preset first."""
        kept = [tag for tag in summary.tags if tag not in self.removed]
        return tuple(dict.fromkeys([*kept, *self.added]))


def read_annotations(run: RunDirectory) -> Annotations:
    """The annotations of a run, printable; empty if the file is missing or damaged."""
    return read_record(Annotations, run.annotations_json, Annotations())


def note_as_written(run: RunDirectory) -> str:
    """The note with every character that its author typed, for an editor; to show it there is `read_annotations`.

    Raises RunError if the file is unreadable, as all that change it do.
    """
    return str(_load(run).get("note", ""))


def _load(run: RunDirectory) -> dict[str, Any]:
    """What the file says, to be changed. Raises RunError if it is no record: lists show nothing of that."""
    known = load_json(run.annotations_json)
    with unreadable_refused(run.annotations_json):
        convert(Annotations, known)
    return known


def tag_words(words: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Words typed to change tags, by their sign: those without one, those to add (`+word`), and to remove (`-word`)."""
    said = list(words)
    plain = [word for word in said if word[:1] not in ("+", "-")]
    return plain, [word[1:] for word in said if word[:1] == "+"], [word[1:] for word in said if word[:1] == "-"]


def change_tags(run: RunDirectory, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Annotations:
    """Add and remove tags; removing a tag that the run does not have changes nothing.

    Raises RunError for a word that cannot be a tag, before anything is written.
    """
    adding, removing = dict.fromkeys(add), dict.fromkeys(remove)
    for tag in adding:
        if tag[:1] in SIGNS or len(tag) > LONGEST_TAG or not tag.isprintable() or any(sign.isspace() for sign in tag):
            raise RunError(
                f"{tag!r} cannot be a tag: use a word of at most {LONGEST_TAG} characters without spaces, and without "
                "a sign in front"
            )
    if both := [tag for tag in adding if tag in removing]:
        raise RunError(f"{both[0]!r} is to be added and removed at once")

    def change() -> dict[str, Any]:
        old = read_annotations(run)
        added = [*(tag for tag in old.added if tag not in removing), *adding]
        removed = [*(tag for tag in old.removed if tag not in adding), *removing]
        return {"added": list(dict.fromkeys(added)), "removed": list(dict.fromkeys(removed))}

    return _write(run, change)


def set_note(run: RunDirectory, note: str) -> Annotations:
    """Replace the note; an empty one removes it."""
    return _write(run, lambda: {"note": note.strip()})


def set_archived(run: RunDirectory, *, archived: bool) -> Annotations:
    """Put a run into the archive, or take it out."""
    return _write(run, lambda: {"archived": archived})


def _write(run: RunDirectory, changes: Callable[[], dict[str, Any]]) -> Annotations:
    """Change the file by what it holds, before anybody else does; the rest stays as it was written."""
    try:
        with (
            cannot(f"write {run.annotations_json}"),
            inside.folder(run.control, run.path, make=True) as control,
            taken(run.control / LEASE, control.descriptor),
        ):
            write_json(run.annotations_json, _load(run) | changes())
    except LeaseHeld as error:
        raise RunError(str(error)) from error
    return read_annotations(run)
