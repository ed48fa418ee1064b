"""A text area for a preset's TOML: highlighting, and marked lines with problems."""

from collections.abc import Iterable
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.theme import Theme
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from rbp_tui.dashboard.themes import LIGHT_COLOURS

# What is too pale on our background in GitHub's light theme.
_NUMBER, _NAME, _COMMENT = Style(color=LIGHT_COLOURS.failed), Style(color=LIGHT_COLOURS.live), Style(color="#5c636b")
LEGIBLE = {"number": _NUMBER, "float": _NUMBER, "boolean": _NAME, "constant.builtin": _NAME, "comment": _COMMENT}


class TomlArea(TextArea):
    """If read only, printable keys go to the screen. Tab leaves it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"toml-area--problem"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+home", "go_to_line(1)", "first line", id="editor.first", show=False),
        Binding("ctrl+end", "go_to_line(1_000_000)", "end", id="editor.last", show=False),
    ]

    def __init__(self, text: str = "", *, read_only: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(
            text,
            id=id,
            language="toml",
            theme="css",
            read_only=read_only,
            soft_wrap=read_only,  # a long description is read, not edited, in a narrow pane
            show_line_numbers=True,
            tab_behavior="focus",
            compact=True,
        )
        self.problem_lines: frozenset[int] = frozenset()
        light = TextAreaTheme.get_builtin_theme("github_light")
        if light is not None:
            self.register_theme(TextAreaTheme("css-light", syntax_styles=light.syntax_styles | LEGIBLE))

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._apply_theme)
        self._apply_theme(self.app.current_theme)

    def _apply_theme(self, theme: Theme) -> None:
        self.theme = "css" if theme.dark else "css-light"

    def mark_lines(self, lines: Iterable[int]) -> None:
        """Mark the lines with problems, counted from 1."""
        marked = frozenset(lines)
        if marked != self.problem_lines:
            self.problem_lines = marked
            self.notify_style_update()
            self.refresh()

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        if line_index + 1 in self.problem_lines:
            line.stylize(self.get_component_rich_style("toml-area--problem", partial=True))
        return line

    def action_go_to_line(self, line: int) -> None:
        """Put the cursor on the first character of a line, counted from 1; behind the last line, at the end."""
        row = min(line, self.document.line_count) - 1
        text = self.document.get_line(row)
        column = len(text) - len(text.lstrip()) if row == line - 1 else len(text)
        self.move_cursor((row, column), center=True)
