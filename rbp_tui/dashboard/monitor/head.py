"""The head of the Monitor: which run, how it stands and why, how far it is, and how long it still needs."""

import time

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from rbp_engine.report.names import one_line
from rbp_engine.run.status.attempts import attempt_remaining_s, elapsed_s
from rbp_tui.dashboard.monitor.state_text import Standing
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, title

SHORTEST_BAR, LONGEST_BAR = 6, 60
SHORTEST_PLACE = 6


class Head(Vertical):
    """Two rows, and one more where there is something to say about the status."""

    def compose(self) -> ComposeResult:
        yield Line(id="title")
        yield Line(id="progress")
        yield Line(id="why", wraps=True)

    def show(self, sight: Sight, stands: Standing, now: float) -> None:
        """Show a run as it stands."""
        width = self.size.width or self.app.size.width
        self.query_one("#title", Line).say(title_text(sight, stands, width))
        self.query_one("#progress", Line).say(progress_text(sight, stands, now, width))
        self.query_one("#why", Line).say_or_hide(why_text(stands, width))

    def show_nothing(self, text: str) -> None:
        """Say why there is no run to show."""
        self.query_one("#title", Line).say(Text(f" {text}", style="dim"))
        self.query_one("#progress", Line).say(Text())
        self.query_one("#why", Line).say_or_hide(Text())


def title_text(sight: Sight, stands: Standing, width: int) -> Text:
    """What is run, cut where there is no room, and at the right its status, device and host."""
    status = f"{SIGNS.get(stands.status, ' ')} {stands.status.upper()}"
    left = Text.assemble((f" {one_line(title(sight.summary) if sight.summary.preset else sight.run.id)}", "bold"))
    left.truncate(max(1, width - len(status) - 3), overflow="ellipsis")
    right = Text.assemble((status, f"bold {STYLES.get(stands.status, '')}".strip()))
    room = width - left.cell_len - right.cell_len - 5
    if room >= SHORTEST_PLACE and (place := _place(sight)):
        right.append("  ").append(place if len(place) <= room else f"{place[: room - 1]}…", style="dim")
    gap = width - left.cell_len - right.cell_len - 1
    return Text.assemble(left, " " * gap, right)


def _place(sight: Sight) -> str:
    attempt = sight.course.attempt
    if attempt is None:
        return ""
    several = f"{attempt.processes} × " if attempt.processes > 1 else ""
    return one_line(" · ".join(part for part in (f"{several}{attempt.device}", attempt.host) if part.strip()))


def progress_text(sight: Sight, stands: Standing, now: float, width: int) -> Text:
    """Epoch, bar, share, time, time left, and the age of the newest checkpoint; what has no room goes from the end."""
    summary, attempts = sight.summary, sight.course.attempts
    live = sight.verdict.live and stands.status != "gone"
    done = min(1.0, summary.step / summary.steps) if summary.steps else 0.0
    left = Text(f" epoch {summary.epoch}/{summary.epochs} ")
    right = Text(f" {100 * done:.0f} %   elapsed {fmt.duration(elapsed_s(attempts, now if live else None))}")
    parts = []
    if live and stands.status not in ("stale", "stalled"):
        remaining = attempt_remaining_s(attempts, summary)
        parts.append(f"ETA {fmt.duration(remaining)}{f' → {_clock(now + remaining, now)}' if remaining else ''}")
    if sight.course.checkpoints:
        age = now - sight.course.checkpoints[-1].t
        parts.append(f"ckpt {fmt.duration(age)} ago" if live else f"ckpt step {sight.course.checkpoints[-1].step}")
    if summary.attempt > 1:
        parts.append(f"attempt {summary.attempt}")
    for part in parts:
        if left.cell_len + right.cell_len + len(part) + 3 + SHORTEST_BAR <= width:
            right.append(f"   {part}", style="dim" if part.startswith(("ckpt", "attempt")) else "")
    length = max(SHORTEST_BAR, min(LONGEST_BAR, width - left.cell_len - right.cell_len - 1))
    filled = round(length * done)
    style = STYLES.get(stands.status, "")
    return Text.assemble(left, ("━" * filled, style), ("━" * (length - filled), "dim"), right)


def why_text(stands: Standing, width: int) -> Text:
    """The reason, and what can be done, in a row where there is room, else below each other."""
    text = Text()
    if stands.why:
        text.append(f" {stands.why}", style="" if stands.status == "completed" else STYLES.get(stands.status, ""))
    if stands.advice:
        fits = text.cell_len + len(stands.advice) + 4 <= width
        text.append(("  " if fits else "\n") if stands.why else "")
        text.append(f" {stands.advice}", style="dim")
    return text


def _clock(moment: float, now: float) -> str:
    """When that is: the time, with the day where it is not today."""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%a %d %b %H:%M", then)
