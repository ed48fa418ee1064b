"""Our two themes: what each colour means, and what the style words of texts, such as "green", look like.

`docs/design-language.md` explains the choice. Colours never carry meaning alone: every status has a sign as well.
`tests/dashboard/test_contrast.py` checks that everything that is read has a contrast of 4.5 or more.
"""

import os
from dataclasses import dataclass

from rich.color import Color
from rich.terminal_theme import TerminalTheme
from textual.theme import Theme


@dataclass(frozen=True)
class Colours:
    """The colours of a theme, by meaning, and its three backgrounds."""

    text: str
    live: str
    done: str
    attention: str
    failed: str
    baseline: str
    accent: str  # selected, focused
    selected: str  # background of the selected row
    selected_elsewhere: str  # the same in a list without focus
    background: str
    surface: str
    panel: str
    scrollbar: str


DARK_COLOURS = Colours(
    text="#d8dee6",
    live="#5cb8f0",
    done="#45c792",
    attention="#e8b03a",
    failed="#ff8277",
    baseline="#e48ac0",
    accent="#b9a6ff",
    selected="#38335c",
    selected_elsewhere="#2a2740",
    background="#12161b",
    surface="#171c22",
    panel="#1e252d",
    scrollbar="#5f6975",
)
LIGHT_COLOURS = Colours(
    text="#1b2128",
    live="#005a94",
    done="#00613f",
    attention="#7a4a00",
    failed="#a82018",
    baseline="#8f2f6a",
    accent="#5530a8",
    selected="#d9d0f5",
    selected_elsewhere="#e6e1f5",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#e8e5de",
    scrollbar="#8a8882",
)


def _theme(name: str, colours: Colours, *, dark: bool) -> Theme:
    return Theme(
        name=name,
        primary=colours.accent,
        secondary=colours.baseline,
        accent=colours.accent,
        warning=colours.attention,
        error=colours.failed,
        success=colours.done,
        foreground=colours.text,
        background=colours.background,
        surface=colours.surface,
        panel=colours.panel,
        dark=dark,
        variables={
            # On a quiet background, text and signs in any of the colours stay legible on the selected row.
            "block-cursor-background": colours.selected,
            "block-cursor-foreground": colours.text,
            "block-cursor-blurred-background": colours.selected_elsewhere,
            "block-cursor-blurred-foreground": colours.text,
            "block-hover-background": colours.selected_elsewhere,
            "input-selection-background": colours.selected,
            "input-selection-foreground": colours.text,
            "scrollbar": colours.scrollbar,
            "scrollbar-hover": colours.accent,
            "scrollbar-active": colours.accent,
            "scrollbar-background": colours.background,
            "text-primary": colours.accent,
            "text-accent": colours.accent,
            "text-secondary": colours.baseline,
            "text-success": colours.done,
            "text-warning": colours.attention,
            "text-error": colours.failed,
        },
    )


def _style_words(colours: Colours) -> TerminalTheme:
    """The colours of style words: both "blue" and "cyan" are live, "bright_red" is "red", and so on."""
    normal = [
        _rgb(colour)
        for colour in (
            colours.panel,  # black
            colours.failed,  # red
            colours.done,  # green
            colours.attention,  # yellow
            colours.live,  # blue
            colours.baseline,  # magenta
            colours.live,  # cyan
            colours.text,  # white
        )
    ]
    return TerminalTheme(_rgb(colours.background), _rgb(colours.text), normal, normal)


def _rgb(colour: str) -> tuple[int, int, int]:
    return Color.parse(colour).get_truecolor()


DARK = _theme("rbp-dark", DARK_COLOURS, dark=True)
LIGHT = _theme("rbp-light", LIGHT_COLOURS, dark=False)
THEMES = (DARK, LIGHT)
DARK_WORDS = _style_words(DARK_COLOURS)
LIGHT_WORDS = _style_words(LIGHT_COLOURS)

PLAIN_TERMINALS = ("linux", "vt100", "vt220", "ansi", "xterm", "screen", "tmux")


def default_theme() -> str:
    """Our dark theme; Textual's `ansi-dark` on a terminal with only sixteen colours."""
    plain = os.environ.get("TERM", "") in PLAIN_TERMINALS and "COLORTERM" not in os.environ
    return "ansi-dark" if plain else "rbp-dark"
