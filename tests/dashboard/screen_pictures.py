"""Pictures of screens as text: a line for each row with the runs of its looks, then what each look is.

A test compares a screen with its file in `pictures/`. `RBP_NEW_PICTURES=1 pytest tests/dashboard -k NAME` writes the
files anew; read `git diff` before you commit them.
"""

import asyncio
import difflib
import os
import string
import time
from pathlib import Path

import pytest
from rich.style import Style

FOLDER = Path(__file__).parent / "pictures"
NEW = "RBP_NEW_PICTURES" in os.environ
LETTERS = string.ascii_letters + "αβγδεζηθικλμνξοπρστυφχψωабвгдежзийклмнопрстуфхцчшщъыьэюя"
QUIET = 10.0  # seconds in which nothing changes, also on a busy machine
ATTRIBUTES = ("bold", "dim", "italic", "underline", "reverse", "strike")


def at(*sizes):
    """A picture at each of these sizes, such as 80x24."""
    return pytest.mark.parametrize("size", [tuple(map(int, size.split("x"))) for size in sizes], ids=sizes)


def screen_rows(app):
    """What the screen shows, row by row."""
    return app.screen._compositor.render_strips()


def screen_text(app):
    """All text on the screen, row by row."""
    return "\n".join(strip.text for strip in screen_rows(app))


def picture(app):
    """The text of the screen, with the colours and attributes of every cell that shows something."""
    letters = {}
    lines = []
    for strip in screen_rows(app):
        runs = []  # look, cells
        for segment in strip:
            look = _look(segment.style or Style.null(), segment.text)
            if look.startswith("on ") and runs and runs[-1][0].endswith(look):  # a blank behind a text
                look = runs[-1][0]
            cells = segment.cell_length + (runs.pop()[1] if runs and runs[-1][0] == look else 0)
            runs.append((look, cells))
        codes = (f"{letters.setdefault(look, LETTERS[len(letters)])}{cells}" for look, cells in runs)
        lines.append(f"{strip.text}▏{' '.join(codes)}\n")
    legend = [f"{letter} {look}" for look, letter in letters.items()]
    return "".join([*lines, *(" · ".join(legend[i : i + 4]) + "\n" for i in range(0, len(legend), 4))])


def _look(style, text):
    """Attributes and colours; only the background where nothing else is seen."""
    attributes = [name for name in ATTRIBUTES if getattr(style, name)]
    foreground, background = (colour.name if colour else "default" for colour in (style.color, style.bgcolor))
    if text.isspace() and not {"underline", "reverse", "strike"} & set(attributes):
        return f"on {background}"
    return " ".join([*attributes, foreground, "on", background])


async def _last_picture(pilot, expected):
    """The expected picture as soon as it is there, or else the first that stands still."""
    shown, since = picture(pilot.app), time.monotonic()
    while shown != expected and time.monotonic() - since < QUIET:
        await pilot.pause(0.1)
        if (now := picture(pilot.app)) != shown:
            shown, since = now, time.monotonic()
    return shown


def compare_with(file, app, size, settle, keys):
    """Run the app until it has settled and the keys are pressed; fail with a diff if it looks unlike the file."""
    before = None if NEW else file.read_text() if file.exists() else ""

    async def look():
        async with app.run_test(size=size) as pilot:
            if settle is not None:
                await settle(pilot)
            await pilot.press(*keys)
            return await _last_picture(pilot, before)

    shown = asyncio.run(look())
    if before is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown)
    elif shown != before:
        diff = difflib.unified_diff(before.splitlines(), shown.splitlines(), file.name, "now", lineterm="")
        pytest.fail("\n".join(["It looks different.", *diff]), pytrace=False)
