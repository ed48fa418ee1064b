"""Names and status signs of runs, shared by commands, live view and dashboard."""

from typing import TYPE_CHECKING

from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_engine.run.files.summary import Summary
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.text import Text

# Style words by meaning, as in docs/design-language.md.
LIVE, DONE, ATTENTION, FAILED, UNAVAILABLE = "cyan", "green", "yellow", "red", "dim"
STYLES = {
    "queued": UNAVAILABLE,
    "starting": LIVE,
    "running": LIVE,
    "completed": DONE,
    "stopping": ATTENTION,
    "stopped": ATTENTION,
    "preempted": ATTENTION,
    "stalled": ATTENTION,
    "stale": ATTENTION,
    "failed": FAILED,
    "killed": FAILED,
    "lost": FAILED,
    "unreadable": FAILED,
    "gone": FAILED,
}
SIGNS = {
    "completed": "■",
    "running": "▶",
    "starting": "▷",
    "stopping": "◼",
    "stopped": "◼",
    "preempted": "◼",
    "stalled": "!",
    "queued": "…",
    "failed": "✗",
    "killed": "✗",
    "lost": "?",
    "unreadable": "⊘",
    "stale": "~",
    "gone": "∅",
}


def status_text(status: str) -> "Text":
    """A status with its sign and colour; the sign is enough without colours."""
    from rich.text import Text

    return Text(f"{SIGNS.get(status, ' ')} {one_line(status, LONGEST_NAME)}", style=STYLES.get(status, "white"))


def title(summary: Summary) -> str:
    """A run in one line: label, method, T, seed and the end of its id."""
    name = f" · {summary.name}" if summary.name else ""
    return (
        f"{summary.described} · {fmt.method(summary.method)} · T={summary.timesteps} · seed {summary.seed}"
        f"{name} · {short_id(summary)}"
    )


def short_id(summary: Summary) -> str:
    """The last four characters, which identify a run; an id that the user chose stays as it is."""
    return short(summary.id)


def short(run_id: str) -> str:
    """`short_id` of an id."""
    return run_id[-4:] if run_id[-5:-4] == "-" else run_id
