"""How followed runs have ended, and what to type next."""

import shlex
from collections.abc import Sequence

from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status.status import Verdict
from rbp_tui.cli.output import say, say_next
from rbp_tui.cli.train.next_steps import next_steps, runs_dir_option
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import judged
from rbp_tui.text.run_text import scores, status_text, title

#: Training for less than this tries something out. Rules that say what a shorter or longer run may do are not for that.
TRIED_OUT_S = 300.0
ABOUT_LENGTH = frozenset({"unfinished", "improving", "no_progress", "timesteps"})


def print_results(
    runs: Sequence[RunDirectory],
    verdicts: Sequence[Verdict],
    request: LaunchRequest | None = None,
    begun: float | None = None,
) -> None:
    """How each has ended, the mean of several seeds of one experiment, and what to type next.

    `begun` is when the command was given, in seconds since the epoch; None if it did not start the runs.
    """
    if len(runs) == 1:
        print_result(runs[0], verdicts[0], request, begun)
        return
    found = [
        (run, verdict, summary)
        for run, verdict in zip(runs, verdicts, strict=True)
        if (summary := read_summary(run)) is not None
    ]
    for run, verdict, summary in found:
        top1 = f"top-1 last {fmt.percent(summary.last.top1)} %, best {fmt.percent(summary.best.top1)} %"
        say(
            "{} {}{}",
            status_text(verdict.shown_status),
            title(summary),
            f": {verdict.reason}" if verdict.reason else f", {top1}",
        )
        _say_findings(run, summary, verdict)
    completed = [summary for _, verdict, summary in found if verdict.status == "completed"]
    # Several runs that were named to be resumed may be of several experiments, which have no mean.
    of_one = len({summary.experiment for _, _, summary in found}) == 1
    scores = f": {_mean_over_seeds(completed)}" if of_one and completed else ""
    say("  {} of {} {} completed{}", len(completed), len(runs), "seeds" if of_one else "runs", scores)
    if begun is not None and found:
        took = max(summary.updated for _, _, summary in found) - begun
        say("  {} from the command to the end of the last run, in {}", fmt.duration(took), runs[0].path.parent)
    place = runs_dir_option(runs[0], request)
    presets = sorted({summary.preset for _, _, summary in found})
    beside = [shlex.join(["rbp", "compare", f"preset={preset}"]) + place for preset in presets]
    again = [short_id(run.id) for run, verdict, _ in found if verdict.resumable and not verdict.cause.wants_new_run]
    say_next(
        [
            *([shlex.join(["rbp", "resume", *again]) + place] if again else []),
            f"rbp ls{place}",
            f"rbp report{place}",
            *beside,
        ]
    )


def print_result(
    run: RunDirectory, verdict: Verdict, request: LaunchRequest | None = None, begun: float | None = None
) -> None:
    """How it has ended, and what to type next; `begun` as for `print_results`."""
    summary = read_summary(run)
    if summary is None:
        say("{} {}: {}", status_text(verdict.shown_status), short_id(run.id), verdict.reason)
        return
    say("{} {}, {}", status_text(verdict.shown_status), title(summary), _times(summary, begun))
    if verdict.reason:
        say("  {}", verdict.reason)
    for name, reached in scores(summary) if summary.last.top1 is not None else ():
        say("  {}: [bold]{}[/]", name, reached)
    _say_findings(run, summary, verdict)
    say("  folder: {}", run.path)
    if steps := next_steps(run, summary, verdict, request):
        say_next(steps)


def _say_findings(run: RunDirectory, summary: Summary, verdict: Verdict) -> None:
    """What the rules find; of a short run without what whoever chose its length knows, and `rbp show` has all of it."""
    from rbp_engine.run.history.history_reader import read_alarms, read_findings  # imports numpy

    for alarm in read_alarms(run) if verdict.live else read_findings(run):
        if summary.trained_s >= TRIED_OUT_S or alarm.rule not in ABOUT_LENGTH:
            say("  [yellow]{}: {}[/]", *judged(alarm, live=verdict.live))


def _times(summary: Summary, begun: float | None) -> str:
    """As "33s from the command to the end: 24s of training steps, the rest to start, evaluate and save"; the steps are
    those of all attempts."""
    attempts = " including earlier attempts" if summary.attempt > 1 else ""
    trained = f"{fmt.duration(summary.trained_s)} of training steps{attempts}"
    rest = "" if attempts else ", the rest to start, evaluate and save"
    whole = "" if begun is None else f"{fmt.duration(summary.updated - begun)} from the command to the end: "
    return f"{whole}{trained}{rest if whole else ''}"


def _mean_over_seeds(completed: Sequence[Summary]) -> str:
    """Mean and standard deviation of last and best top-1."""
    from rbp_engine.report.spread import spread_of_known
    from rbp_tui.text.comparison_columns import spread_text

    last = spread_text(spread_of_known(one.last.top1 for one in completed))
    best = spread_text(spread_of_known(one.best.top1 for one in completed))
    return f"top-1 last {last} %, best {best} % (mean ± standard deviation)"
