"""Presets: browse them by data set, see what one is, and launch it."""

from typing import ClassVar

from rich.markup import escape
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from rbp_engine.data.catalog import CATALOG, presence
from rbp_engine.preset import LoadedPreset, PresetEntry, PresetError, list_presets, load_preset, resolved_toml
from rbp_tui import format as fmt
from rbp_tui.dashboard.launch_form import LaunchForm
from rbp_tui.dashboard.screens.base import DashboardScreen, TopBar

FIRST = ("digits", "mnist5k")  # what needs no download stands first


class PresetsScreen(DashboardScreen):
    """The list at the left; beside it a summary and the resolved TOML. Enter opens the launch form."""

    NAME = "presets"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "launch", id="presets.launch"),
        Binding("slash", "filter", "filter", id="presets.filter", key_display="/"),
        Binding("t", "toml", "TOML", id="presets.toml"),
        Binding("escape", "clear", "clear", id="presets.clear", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[PresetEntry] = []

    def compose(self) -> ComposeResult:
        yield TopBar()
        with Horizontal():
            with VerticalScroll(id="list"):
                yield Input(placeholder="filter", id="filter")
                yield OptionList(id="presets")
            with VerticalScroll(id="detail"):
                yield Static(id="summary")
                yield TextArea(read_only=True, id="toml", soft_wrap=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#toml").display = False
        # Focus in a text area would swallow the digits that switch screens.
        self.query_one(OptionList).focus()
        self.reload()

    def reload(self) -> None:
        """Read the list of presets again."""
        self.entries = list_presets()
        self._fill("")

    def choose(self, name: str) -> None:
        """Move to a preset."""
        options = self.query_one(OptionList)
        index = next((i for i in range(options.option_count) if options.get_option_at_index(i).id == name), None)
        if index is not None:
            options.highlighted = index

    def _fill(self, words: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        group = None
        ordered = sorted(self.entries, key=lambda entry: (entry.group not in FIRST, entry.group, entry.name))
        for entry in ordered:
            if words.lower() not in f"{entry.name} {entry.title}".lower():
                continue
            if entry.group != group:
                group = entry.group
                title = CATALOG[group].title if group in CATALOG else group or "Unreadable"
                here = group in CATALOG and presence(group).found
                options.add_option(Option(f"[dim]{escape(title)}[/] {'[green]✓[/]' if here else ''}", disabled=True))
            broken = f" [red]{entry.problem_count} problems[/]" if entry.problem_count else ""
            options.add_option(Option(f"  {escape(entry.name)}{broken}", id=entry.name))
        if options.option_count:
            options.action_first()

    @property
    def current(self) -> PresetEntry | None:
        """The preset under the cursor."""
        option = self.query_one(OptionList).highlighted_option
        return next((entry for entry in self.entries if option is not None and entry.name == option.id), None)

    @on(OptionList.OptionHighlighted)
    def _show(self) -> None:
        entry = self.current
        if entry is None:
            return
        summary, toml = self.query_one("#summary", Static), self.query_one("#toml", TextArea)
        try:
            loaded = load_preset(str(entry.path))
        except PresetError as error:
            summary.update(escape(str(error)))
            toml.text = ""
            return
        summary.update(self._summary(loaded))
        toml.text = resolved_toml(loaded.preset)

    def _summary(self, loaded: LoadedPreset) -> str:
        preset = loaded.preset
        data = CATALOG.get(preset.data.name)
        found = presence(preset.data.name) if data is not None else None
        where = "[green]here[/]" if found is None or found.found else f"[yellow]missing[/]: {escape(found.remedy)}"
        ours = [
            record.summary.last["top1"]
            for record in self.dashboard.records
            if record.summary.experiment == loaded.experiment
            and record.verdict.status == "completed"
            and record.summary.last.get("top1") is not None
        ]
        mean = sum(top1 or 0.0 for top1 in ours) / len(ours) if ours else None
        rows = [
            ("network", f"{preset.model.name}   init {preset.model.init}"),
            ("method", f"{fmt.method(preset.method.name)}, T = {preset.method.timesteps}"),
            ("neuron", f"λ {preset.neuron.decay}, V_th {preset.neuron.threshold}, {preset.neuron.reset} reset"),
            ("training", f"{preset.train.epochs} epochs, batch {preset.data.batch_size}"),
            ("optimizer", f"{preset.optim.name}, lr {preset.optim.lr} {preset.optim.schedule}"),
            ("paper", _paper(loaded)),
            ("ours", f"{fmt.percent(mean)} % (mean last, {len(ours)} runs)" if ours else "no run yet"),
            ("data", f"{escape(data.title if data else preset.data.name)}  {where}"),
        ]
        lines = [f"[b]{escape(preset.title or loaded.name)}[/b]", f"[dim]{escape(preset.description.strip())}[/]", ""]
        return "\n".join(lines + [f"[dim]{name:10}[/] {text}" for name, text in rows])

    def action_launch(self) -> None:
        """Open the launch form; nothing is created before it is confirmed."""
        if self.current is not None and not self.current.problem_count:
            self.dashboard.push_screen(LaunchForm(str(self.current.path), self.current.name))

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        self.action_launch()

    def action_toml(self) -> None:
        """Show or hide the resolved preset."""
        toml = self.query_one("#toml")
        toml.display = not toml.display

    def action_filter(self) -> None:
        """Filter the list by a word."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one(OptionList).focus()

    def action_clear(self) -> None:
        """Take away the filter."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.query_one(OptionList).focus()


def _paper(loaded: LoadedPreset) -> str:
    paper, method = loaded.preset.paper, loaded.preset.method
    if paper is None:
        return "–"
    for figure in paper.figures:
        if (figure.method, figure.timesteps) == (method.name, method.timesteps) and isinstance(figure.top1, float):
            return f"{fmt.percent(figure.top1)} %"
    return "not known"
