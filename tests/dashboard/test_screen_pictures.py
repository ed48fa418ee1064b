"""A picture as text shows what a change of a screen does to it."""

import asyncio

import pytest
from textual.app import App
from textual.containers import Horizontal
from textual.widgets import Static

from tests.dashboard import screen_pictures
from tests.dashboard.screen_pictures import compare_with, picture

STYLE = "Static { color: #d8dee6; width: 1fr; height: auto; }"


class Shown(App):
    """Two texts beside each other."""

    def __init__(self, texts=("top-1", "loss"), style=STYLE):
        super().__init__()
        self.texts = texts
        self.stylesheet.add_source(style)

    def compose(self):
        yield Horizontal(*map(Static, self.texts))


def drawn(app):
    async def draw():
        async with app.run_test(size=(40, 5)):
            return picture(app)

    return asyncio.run(draw())


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": ("top-5", "loss")},
        {"texts": ("[bold]top-1[/]", "loss")},
        {"style": STYLE.replace("#d8dee6", "#d8dee7")},
    ],
    ids=["word", "bold", "colour"],
)
def test_a_change_is_seen_and_the_message_is_a_diff(changes, tmp_path, monkeypatch):
    monkeypatch.setattr(screen_pictures, "QUIET", 0.3)
    file = tmp_path / "before.txt"
    file.write_text(drawn(Shown()))
    compare_with(file, Shown(), (40, 5), None, ())
    with pytest.raises(pytest.fail.Exception, match=r"different\.\n--- before\.txt"):
        compare_with(file, Shown(**changes), (40, 5), None, ())
