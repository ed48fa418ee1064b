"""What is read has a contrast of 4.5 or more in both of our themes, on every screen and in every dialog."""

import pytest
from rich.color import Color
from textual.screen import ModalScreen

from rbp_engine.run.files.layout import read_json, write_json
from rbp_tui.charts.palette import contrast
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from tests.dashboard.screen_pictures import screen_rows

TEXT, SHAPE = 4.5, 3.0
# Frames and grids only separate; the eye needs no more than their place.
FRAMES = range(0x2500, 0x2580)
SHAPES = {*range(0x2580, 0x25A0), *range(0x2800, 0x2900), *map(ord, "●★")}
# Half a cell of the background of what lies beside it.
EDGES = set("▐▌▔▁▎▊▕▏")

# The keys that lead to each picture, from the one before.
PICTURES = {
    "presets": "1", "launch form": "1 enter", "new preset": "escape 1 ctrl+n",
    "runs": "escape 2", "a marked run": "space", "a sweep": "w space", "a tag": "escape escape t",
    "trash": "escape x", "a query with an error": "escape slash l r = =", "compare": "escape escape 2 a c",
    "monitor": "2 enter", "find in the log": "slash e", "system": "escape escape 5", "network": "6 down",
    "replay": "left left", "gradients": "escape v", "health": "v", "evaluation": "v", "own": "v",
    "help": "question_mark", "palette": "question_mark ctrl+p r",
}  # fmt: skip


@pytest.fixture
def runs(home, end_run, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(home)
    for seed in (1, 2):
        run = end_run(home / "runs", f"digits-{seed}", f"seed={seed}", curve=[0.7, 0.8 + seed / 100, 0.95], layers=8)
        write_json(run.run_json, read_json(run.run_json) | {"sweep": {"name": "trial", "trial": seed}})
    return home / "runs"


def rgb(colour):
    assert isinstance(colour, Color) and colour.triplet is not None, f"{colour} was left to the terminal"
    return colour.triplet.hex


def places(app):
    """What is read now: the whole screen, or the dialog on top of it."""
    screen = app.screen
    if isinstance(screen, ModalScreen):
        return [widget.region for widget in screen.query(".dialog, CommandInput, CommandList")]
    return [screen.region]


def illegible(app):
    """The texts on the screen with too little contrast, with their contrast and colours."""
    strips = screen_rows(app)
    found = set()
    for region in places(app):
        for y in region.line_range:
            for text, style, _ in strips[y].crop(region.x, region.right):
                shown = text.strip()
                if not shown or style is None or set(shown) <= EDGES or all(ord(sign) in FRAMES for sign in shown):
                    continue
                if shown == "X":  # the cross in a box that is not ticked, which is not to be seen
                    continue
                ratio = contrast(rgb(style.color), rgb(style.bgcolor))
                least = SHAPE if all(ord(sign) in SHAPES or sign == " " for sign in shown) else TEXT
                if ratio < least:
                    found.add((shown[:40], round(ratio, 2), style.color.name, style.bgcolor.name))
    for chart in app.screen.query(CurveChart):
        for part in ("axis", "mark", "cursor"):
            style = chart.get_component_rich_style(f"curve-chart--{part}")
            if (ratio := contrast(rgb(style.color), rgb(style.bgcolor))) < SHAPE:
                found.add((part, round(ratio, 2), style.color.name, style.bgcolor.name))
    return found


async def test_all_that_is_read_has_enough_contrast_in_both_themes(runs, until):
    app = Dashboard(runs)
    themes, problems = ["rbp-dark", "rbp-light"], {}
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        for picture, keys in PICTURES.items():
            await pilot.press(*keys.split())
            themes.reverse()  # the one that is shown first, since a change of theme takes time
            for theme in themes:
                app.theme = theme
                await pilot.pause(0.05)
                if found := illegible(app):
                    problems[f"{picture}, {theme}"] = found
    assert not problems, "\n".join(f"{picture}: {found}" for picture, found in problems.items())
