"""Help: the keys of a screen by task, or those of the focused pane with two tips."""

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import DataTable, Input, OptionList, Static, TextArea

from rbp_tui.dashboard.answered import Dialog
from rbp_tui.dashboard.keys import key_meaning, key_name, keys_file

#: The tasks in their order, each with the names of its keys; a name that ends in "." stands for all that begin so.
TASKS: dict[str, tuple[str, ...]] = {
    "Look": (
        *("runs.filter", "runs.group", "runs.columns", "runs.sort_next", "runs.sort_before", "runs.turn", "runs.clear"),
        *("monitor.axis", "monitor.zoom", "monitor.rank", "monitor.rank_back", "monitor.traceback", "monitor.find"),
        *("network.tab", "network.tab_back", "network.zoom"),
        *("compare.hide", "compare.each_run", "compare.curve", "compare.axis", "compare.zoom", "compare.pin"),
        "compare.equal_cost",
        *("sweep.sort_next", "sweep.sort_back", "sweep.turn", "sweep.back"),
        *("presets.diff", "presets.toml", "presets.network", "presets.runs", "presets.filter", "presets.clear"),
    ),
    "Charts": ("chart.",),
    "Log": ("log.",),
    "Layers": ("layers.",),
    "Move": (
        *("runs.first", "runs.last", "compare.previous", "compare.next", "compare.page_up", "compare.page_down"),
        *("monitor.seed", "monitor.seed_back", "monitor.previous", "monitor.next"),
        *("network.previous", "network.next", "sweep.first", "sweep.last"),
        "jump",
    ),
    "Everywhere": ("screen.", "export", "help", "help.", "leave"),
}
#: What the other keys of a screen do is its purpose: it comes first.
HERE = {
    "runs": "Runs: those that are marked, or the one under the cursor",
    "monitor": "This run",
    "compare": "The chosen row",
    "sweep": "The rows that are marked, or the one under the cursor",
    "presets": "The preset under the cursor",
    "system": "The run under the cursor",
    "network": "Replay",
    "editor": "Edit",
}
#: Of a pane, by the first part of the names of its keys, or by its id.
TIPS: dict[str, tuple[str, str]] = {
    "chart": (
        "The wheel zooms where the mouse is, dragging moves, a click puts the cursor, a double click shows all.",
        "All charts of a screen share cursor and zoom, so values of the same moment are read together.",
    ),
    "layers": (
        "The chart shows the layer that is selected; numbers in amber need a look.",
        "Left and right step through the samples of the run, p plays them, Escape goes back to the newest.",
    ),
    "log": (
        "Scrolled to its end, the log follows the run; scroll up and it stays, press end and it follows again.",
        "Every process has a log: click its name, or step through them with m.",
    ),
    "runs": (
        "A click on a heading sorts by it, another click turns the order round.",
        "Mark runs with space and compare them with c; marks stay when the filter hides the run.",
    ),
    "query": (
        "acc>0.9 T=4 status:running method:rate_m tag:paper not:digits; any setting works: optim.lr<0.1",
        "Enter goes to the table, Escape takes the filter away. rbp ls takes the same queries.",
    ),
    "presets": (
        "Enter opens the launch form; nothing is started before you confirm it there.",
        "Presets that come with rbp are not changed: e edits a copy under a name of your own.",
    ),
    "sweep": (
        "A result is the mean ± deviation over the seeds that are done; rows with more of them come first.",
        "The same sweep goes on after any interruption: it trains only what is missing.",
    ),
    "system": (
        "The list has every process of a run on this machine, also of other runs directories.",
        "Without a run there is nothing to choose: 2 shows those that have ended.",
    ),
    "area": (
        "The line below the text says what the field under the cursor means, and what may stand there.",
        "What you type is kept as a draft; F8 goes to the next problem.",
    ),
}
KEY_WIDTH, DOES_WIDTH = 12, 32
#: Textual's keys for moving in lists; every list has them.
MOVING = (
    ("↑ ↓", "the row above, below"),
    ("PgUp PgDn", "a page"),
    ("Home End", "first, last"),
    ("Tab", "the next pane"),
)


class Help(Dialog[None]):
    """The keys of a screen by task."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "close", id="help.close")
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self.about = about

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(self._text(), markup=False)
            yield Static("\n[b]F1[/b] this pane   [b]ctrl+p[/b] all by name   [b]Esc[/b] close", classes="keys")
            yield Static(f"other keys: by their names under [keys] in {keys_file()}", classes="keys", markup=False)

    def _text(self) -> Text:
        """Not markup, since a key may be a bracket."""
        groups = by_task(one for one in self.about.active_bindings.values() if one.binding.id)
        lines: list[Text] = []
        for task, keys in groups.items():
            lines += [Text(), Text(task, "bold")] if lines else [Text(task, "bold")]
            lines += [self._line(one.binding) for one in keys]
            lines += [_row(key, does) for key, does in MOVING] if task == "Move" else []
        return Text("\n").join(lines)

    def _line(self, binding: Binding) -> Text:
        return _row(key_name(self.app, binding), key_meaning(binding), binding.id or "")


class PaneHelp(Help):
    """The keys of one pane, and two tips."""

    def __init__(self, about: Screen[object], pane: Widget) -> None:
        super().__init__(about)
        self.pane = pane

    def _text(self) -> Text:
        around = [node for node in self.pane.ancestors_with_self if node is not self.about and node is not self.app]
        keys = [one for one in self.about.active_bindings.values() if one.node in around and one.binding.description]
        own = [one for one in keys if one.binding.id]
        rest = {one.binding.action: one for one in keys if not one.binding.id}
        tips = tips_of(self.pane, own, getattr(self.about, "NAME", ""))
        lines = [Text(pane_name(self.pane, own), "bold"), *(self._line(one.binding) for one in own)]
        lines += [Text(), Text("Tips", "bold"), *(Text(f"• {tip}") for tip in tips)] if tips else []
        lines += [Text(), Text("Move", "bold"), *(self._line(one.binding) for one in rest.values())] if rest else []
        return Text("\n").join(lines)


def by_task(keys: Iterable[ActiveBinding]) -> dict[str, list[ActiveBinding]]:
    """The keys by task, each action once; those of no other task come first, as what the screen is for."""
    groups: dict[str, list[ActiveBinding]] = {}
    for one in {(one.binding.id, one.binding.action): one for one in reversed(list(keys))}.values():
        groups.setdefault(task_of(one.binding.id or ""), []).append(one)
    order = [*(task for task in groups if task not in TASKS), *TASKS]
    return {task: groups[task][::-1] for task in order if task in groups}


def task_of(name: str) -> str:
    """The task of a key by its name."""
    for task, names in TASKS.items():
        if name in names or any(some.endswith(".") and name.startswith(some) for some in names):
            return task
    return HERE.get(name.partition(".")[0], "Here")


def pane_name(pane: Widget, keys: Iterable[ActiveBinding]) -> str:
    """What to call a pane."""
    first = next((one.binding.id or "" for one in keys), "").partition(".")[0]
    kinds = {
        "chart": "Chart",
        "log": "Log",
        "runs": "Table of runs",
        "presets": "List of presets",
        "sweep": "Table of a sweep",
        "layers": "Table of layers",
    }
    if first in kinds:
        return kinds[first]
    widgets = {DataTable: "Table", OptionList: "List", TextArea: "Text", Input: "Field"}
    return next((name for kind, name in widgets.items() if isinstance(pane, kind)), "Pane")


def tips_of(pane: Widget, keys: Iterable[ActiveBinding], screen: str) -> tuple[str, ...]:
    """The tips of a pane; those of its screen if it has none."""
    names = [pane.id or "", *((one.binding.id or "").partition(".")[0] for one in keys), screen]
    return next((TIPS[name] for name in names if name in TIPS), ())


def _row(key: str, does: str, name: str = "") -> Text:
    return Text.assemble((f"{key:>{KEY_WIDTH}}", "bold"), f"  {does:<{DOES_WIDTH}}  ", (name, "dim"))
