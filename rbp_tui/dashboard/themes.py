"""Our two themes. Colours never carry meaning alone: every status has a sign as well."""

import os

from textual.theme import Theme

DARK = Theme(
    name="rbp-dark",
    primary="#56b4e9",
    secondary="#cc79a7",
    accent="#e69f00",
    warning="#f0e442",
    error="#ff6b5e",
    success="#3fc28b",
    foreground="#d8dee6",
    background="#12161b",
    surface="#171c22",
    panel="#1e252d",
    dark=True,
)
LIGHT = Theme(
    name="rbp-light",
    primary="#0072b2",
    secondary="#aa4d7c",
    accent="#b36b00",
    warning="#8a6d00",
    error="#c0362c",
    success="#00785a",
    foreground="#1b2128",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#e8e5de",
    dark=False,
)
THEMES = (DARK, LIGHT)

PLAIN_TERMINALS = ("linux", "vt100", "vt220", "ansi", "xterm", "screen", "tmux")


def default_theme() -> str:
    """Our dark theme; Textual's `ansi-dark` on a terminal with only sixteen colours."""
    plain = os.environ.get("TERM", "") in PLAIN_TERMINALS and "COLORTERM" not in os.environ
    return "ansi-dark" if plain else "rbp-dark"
