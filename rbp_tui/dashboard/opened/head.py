"""The head of a screen that follows a run: the run, its status and reason, its progress, and the time left."""

import time

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from rbp_engine.printable import one_line
from rbp_engine.run.phase import Phase
from rbp_engine.run.status.history import attempt_remaining_s, elapsed_s
from rbp_tui.dashboard.opened.state_text import RunState
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, epochs_text, share_done, title

SHORTEST_BAR, LONGEST_BAR = 6, 60
SHORTEST_PLACE = 6


class Head(Vertical):
    """Two rows, and a third if there is something to say about the status."""

    def compose(self) -> ComposeResult:
        yield Line(id="title")
        yield Line(id="progress")
        yield Line(id="why", wraps=True)

    @property
    def columns(self) -> int:
        """The width, also before it is on the screen."""
        return self.size.width or self.app.size.width

    def show(self, title: Text, progress: Text, why: Text) -> None:
        """Show these rows."""
        self.query_one("#title", Line).show_text(title)
        self.query_one("#progress", Line).show_text(progress)
        self.query_one("#why", Line).show_or_hide(why)


def title_text(sight: Sight, state: RunState, width: int) -> Text:
    """The title of the run, cut if space is short, and on the right its status, device and host."""
    status = f"{SIGNS.get(state.status, ' ')} {state.status.upper()}"
    left = Text.assemble((f" {one_line(title(sight.summary) if sight.summary.label else sight.run.id)}", "bold"))
    left.truncate(max(1, width - len(status) - 3), overflow="ellipsis")
    right = Text.assemble((status, f"bold {STYLES.get(state.status, '')}".strip()))
    if state.doing and state.doing != Phase.TRAINING:
        doing = f" {state.doing}"
        left.truncate(max(1, width - right.cell_len - len(doing) - 3), overflow="ellipsis")
        right.append(doing)
    room = width - left.cell_len - right.cell_len - 5
    if room >= SHORTEST_PLACE and (place := _place(sight)):
        right.append("  ").append(place if len(place) <= room else f"{place[: room - 1]}…", style="dim")
    gap = width - left.cell_len - right.cell_len - 1
    return Text.assemble(left, " " * gap, right)


def _place(sight: Sight) -> str:
    attempt = sight.history.attempt
    if attempt is None:
        return ""
    begun = attempt.begun
    several = f"{begun.world_size} × " if begun.world_size > 1 else ""
    places = (f"{several}{begun.device or ''}", begun.host or "")
    return one_line(" · ".join(part for part in places if part.strip()))


def progress_text(sight: Sight, state: RunState, now: float, width: int) -> Text:
    """Epoch, bar, share, time, time left, learning rate, and age of the newest checkpoint; cut from the end."""
    summary, attempts = sight.summary, sight.history.attempts
    live = sight.verdict.live and state.status != "gone"
    done = share_done(summary) or 0.0
    left = Text(f" epoch {epochs_text(summary)} ")
    working = live and sight.verdict.status not in ("queued", "starting")
    share = f"step {summary.step}" if share_done(summary) is None else f"{100 * done:.0f} %"
    right = Text(f" {share}   elapsed {fmt.duration(elapsed_s(attempts, now if working else None))}")
    parts = []
    if live and state.status not in ("stale", "stalled"):
        remaining = attempt_remaining_s(attempts, summary)
        parts.append(f"ETA {fmt.duration(remaining)}{f' → {_clock(now + remaining, now)}' if remaining else ''}")
        if (metrics := sight.history.metrics) is not None and metrics.lr is not None:
            parts.append(f"lr {metrics.lr:.3g}")
    if sight.history.checkpoints:
        age = now - sight.history.checkpoints[-1].t
        parts.append(f"ckpt {fmt.duration(age)} ago" if live else f"ckpt step {sight.history.checkpoints[-1].step}")
    if summary.attempt > 1:
        parts.append(f"attempt {summary.attempt}")
    for part in parts:
        if left.cell_len + right.cell_len + len(part) + 3 + SHORTEST_BAR <= width:
            right.append(f"   {part}", style="dim" if part.startswith(("ckpt", "attempt")) else "")
    length = max(SHORTEST_BAR, min(LONGEST_BAR, width - left.cell_len - right.cell_len - 1))
    filled = round(length * done)
    style = STYLES.get(state.status, "")
    return Text.assemble(left, ("━" * filled, style), ("━" * (length - filled), "dim"), right)


def why_text(state: RunState, width: int) -> Text:
    """The reason and the advice, in one row if there is room, else below each other."""
    text = Text()
    if state.why:
        text.append(f" {state.why}", style="" if state.status == "completed" else STYLES.get(state.status, ""))
    if state.advice:
        fits = text.cell_len + len(state.advice) + 4 <= width
        text.append(("  " if fits else "\n") if state.why else "")
        text.append(f" {state.advice}", style="dim")
    return text


def _clock(moment: float, now: float) -> str:
    """A time of day, with the day unless it is today."""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%a %d %b %H:%M", then)
