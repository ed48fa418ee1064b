"""Names and status signs of runs, shared by commands, live view and dashboard."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rbp_engine.printable import LONGEST_NAME, LONGEST_TEXT, one_line
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.text import Text

    from rbp_engine.run.files.summary import Summary
    from rbp_engine.run.queue.observe import DeviceUse, QueuedRun
    from rbp_engine.run.store.store import RunRecord

#: Why a resume would fail again.
WHY_RESUME_FAILS = {
    Cause.OUT_OF_MEMORY: "a resume needs as much memory",
    Cause.NON_FINITE: "a resume would fail the same way",
    Cause.SETTINGS: "a resume would fail the same way",
    Cause.OWN_CODE: "correct the file first; a resume, or the run again, has the copy that the run keeps",
}
#: What must be true before a resume can continue.
RESUME_CONDITIONS = {
    Cause.PRUNED: "to train it to its end after all",
    Cause.BUDGET: "once the budget that is used up is larger",
    Cause.DATA: "once the data are in order",
    Cause.DISK: "once its disk is writable",
    Cause.CHECKPOINT: "once you have done what the reason says",
    Cause.ERROR: "if neither its settings nor its code were at fault",
    Cause.UNRESPONSIVE: "once it is killed",
}


PAUSED = "paused: nothing starts before rbp queue go"
# Of the devices that somebody has, this many are named.
MOST_HOLDERS = 8
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
    "pruned": UNAVAILABLE,
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
    "stopping": "‖",
    "stopped": "‖",
    "preempted": "‖",
    "pruned": "▽",
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


def title(summary: "Summary") -> str:
    """A run in one line: label, method, T, seed and the end of its id."""
    return " · ".join([*what(summary), *([summary.name] if summary.name else []), short_id(summary.id)])


def scores(summary: "Summary") -> list[tuple[str, str]]:
    """What a run has reached, as far as it is known, each with its name: last, best, with averaged weights, and on the
    test set."""
    last, best, epoch = summary.last, summary.best, summary.best.epoch
    loss = f"loss {fmt.number(last.loss)}" if last.loss is not None else ""
    rows = {
        "last": ", ".join(
            filter(
                None, (_percent(last.top1, "top-1"), _percent(last.top5 if summary.program else None, "top-5"), loss)
            )
        ),
        "best": _percent(best.top1, f"top-1 at epoch {epoch}" if epoch else "top-1"),
        "ema": _percent(last.ema_top1, "top-1 with the moving average of the last weights"),
    } | {f"test, {name}": _percent(top1, "top-1") for name, top1 in summary.test.known.items()}
    return [(name, text) for name, text in rows.items() if text]


def _percent(fraction: float | None, what: str) -> str:
    return "" if fraction is None else f"{fmt.percent(fraction)} % {what}"


def pace(summary: "Summary") -> list[str]:
    """How fast it trains, or has trained, as far as that is known, and not less than what is shown of it."""
    speed = [f"{fmt.thousands(summary.samples_per_s)} samples/s"] if summary.samples_per_s else []
    return speed + ([f"{fmt.number(summary.step_ms, 1)} ms per step"] if (summary.step_ms or 0.0) >= 0.05 else [])


def what(summary: "Summary") -> list[str]:
    """Label, method, T and seed in words; all but the label may be unknown of what other programs train."""
    method = [fmt.method(summary.method)] if summary.method else []
    timesteps = [f"T={summary.timesteps}"] if summary.timesteps else []
    seed = [f"seed {summary.seed}"] if summary.seed is not None else []
    return [summary.described, *method, *timesteps, *seed]


def seed_text(summary: "Summary") -> str:
    """The seed; a dash if it is not known."""
    return "–" if summary.seed is None else str(summary.seed)


def timesteps_text(summary: "Summary") -> str:
    """T; a dash if it is not known."""
    return str(summary.timesteps or "–")


def epochs_text(summary: "Summary") -> str:
    """The epochs that are done, of how many; of another program's run either may not be known."""
    return f"{summary.epoch}/{summary.epochs}" if summary.epochs else str(summary.epoch or "–")


def share_done(summary: "Summary") -> float | None:
    """How much of the training is done, from 0 to 1, by steps or else by epochs; None where the whole is not known."""
    for done, planned in ((summary.step, summary.steps), (summary.epoch, summary.epochs)):
        if planned:
            return min(1.0, done / planned)
    # Another program need not say how much there is; before its first step a run of rbp does not know either.
    return None if summary.program else 0.0


def named(runs: Sequence[RunDirectory]) -> str:
    """One run by its id, several by their count."""
    return runs[0].id if len(runs) == 1 else fmt.counted(len(runs), "run")


def there_already(records: "Iterable[RunRecord]", experiment: str, seeds: "Sequence[int | None]") -> list[str]:
    """Which seeds of an experiment are trained, or just being trained; of several runs of one the last is named."""
    done = {
        one.summary.seed: f"seed {one.summary.seed} is {one.verdict.status} already: {short_id(one.run.id)}"
        for one in records
        if one.summary.experiment == experiment and (one.verdict.live or one.verdict.status == "completed")
    }
    return [done[seed] for seed in seeds if seed in done]


def where_queued(queued: "QueuedRun") -> str:
    """Where a run of the queue runs; of a waiting one what it waits for."""
    if not queued.position:
        return f"on {', '.join(queued.devices)}" if queued.devices else ""
    if queued.paused:
        return "paused"
    if queued.trouble:
        return queued.trouble
    if queued.starts:
        return queued.verdict.reason if queued.restarted else "starts in a moment"
    if queued.behind:
        return f"behind {', '.join(map(short_id, queued.behind))}"
    held = ", ".join(f"{short_id(run)} has {device}" for device, run in queued.held.items())
    return held if queued.takes == 1 else f"needs {queued.takes}; {held}"


def queue_text(uses: "Sequence[DeviceUse]", *, paused: bool) -> "Text":
    """Whether the queue is paused, and how many devices are free for its runs, though others may be at work on them,
    and who has the others."""
    from rich.text import Text

    free = f"{sum(use.free for use in uses)} of {len(uses)} devices free for waiting runs"
    taken = [f"{short_id(use.run) or use.others} has {use.name}" for use in uses if not use.free]
    more = f", and {len(taken) - MOST_HOLDERS} more" if len(taken) > MOST_HOLDERS else ""
    devices = one_line(": ".join(part for part in (free, ", ".join(taken[:MOST_HOLDERS]) + more) if part), LONGEST_TEXT)
    halted = Text.assemble((PAUSED, f"not dim {ATTENTION}"), " · ") if paused else Text()
    return halted.append(devices)
