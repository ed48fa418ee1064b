"""Commands to suggest when a run has ended."""

import shlex

from rbp_engine.data.catalog import is_catalogued
from rbp_engine.preset import PresetError, read_resolved
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import launched
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.history_reader import read_findings
from rbp_engine.run.longer import larger_budgets
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status.status import Verdict
from rbp_engine.settings.machine import runs_directory
from rbp_tui.text.run_text import RESUME_CONDITIONS, WHY_RESUME_FAILS

#: Learning rates at which training usually goes well, by optimizer.
USUAL_RATE = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3}


def next_steps(
    run: RunDirectory, summary: Summary, verdict: Verdict, request: LaunchRequest | None = None
) -> list[str]:
    """Commands, with a condition or a reason if a resume alone does not help; none while the run is live.

    Those of a new run change the `request` that started this one, or repeat the run if that is not known.
    """
    reference, cause, place = short_id(summary.id), verdict.cause, runs_dir_option(run, request)
    looks = [f"rbp ls{place}", f"rbp show {reference}{place}"]
    if summary.program:  # which rbp can neither start again nor change
        return [] if verdict.live else looks
    if verdict.status == "completed":
        if any(finding.rule in ("loss", "large_steps") for finding in read_findings(run)):
            return [*looks, _new_run(run, Cause.NON_FINITE, request)]  # its steps were too large as well
        return [*looks, *_comparison(request, "rate_m" if summary.method == "bptt" else "bptt")]
    if not verdict.resumable:
        return []
    logs = f"rbp logs {reference}{place}"
    if cause.wants_new_run:
        return [logs, f"{_new_run(run, cause, request)} ({WHY_RESUME_FAILS[cause]})"]
    known = [RESUME_CONDITIONS[cause]] if cause in RESUME_CONDITIONS else []
    known += [] if run.newest_checkpoint else ["from epoch 1: it has saved no checkpoint"]
    resume = f"rbp resume {reference}{place}" + (f" ({'; '.join(known)})" if known else "")
    if cause is Cause.BUDGET:
        return [" ".join([f"rbp resume {reference}", *larger_budgets(run)]) + place]
    if cause is Cause.DATA:
        return [*_check_data(run), resume, logs]
    if cause is Cause.UNRESPONSIVE:
        return [f"rbp stop --now {reference}{place}", resume, logs]
    return [logs, resume] if cause is Cause.ERROR else [resume, logs]


def runs_dir_option(run: RunDirectory, request: LaunchRequest | None = None) -> str:
    """What commands about a run need to find it, with a leading space: where it is, as the request says it; empty if
    they look there anyway."""
    given = request.options.runs_dir if request else None
    if given is None and run.path.parent != runs_directory(None):
        given = run.path.parent
    return f" --runs-dir {shlex.quote(str(given))}" if given else ""


def _comparison(request: LaunchRequest | None, method: str) -> list[str]:
    """The command of the same with another method; none if the preset is refused with it, as rate_m with tet."""
    if request is None:
        return []
    changed = request.changed("method", method)
    try:
        changed.load()
    except PresetError:
        return []
    return [shlex.join(changed.command)]


def _new_run(run: RunDirectory, cause: Cause, request: LaunchRequest | None) -> str:
    """The command of a new run that avoids the cause, as far as it is known."""
    if cause is Cause.OWN_CODE:  # the run's own copy has the fault
        typed = shlex.join(request.command) if request else read_run_json(run).command
        return typed or "rbp train anew"
    try:
        request = request or LaunchRequest.like(run)
        if cause is Cause.NON_FINITE:
            return shlex.join(request.changed("lr", f"{_lower_rate(run, request):g}").command)
        processes = launched(run).resources.world_size
        if cause is Cause.OUT_OF_MEMORY and (parts := read_resolved(run.preset_toml).more_parts(processes)):
            return shlex.join(request.changed("train.accumulate", str(parts)).command)
    except (PresetError, RunError):  # the preset has been changed or removed since, or run.json is damaged
        pass
    wanted = "a lower lr, or optim.warmup_epochs" if cause is Cause.NON_FINITE else "the settings that the reason names"
    return f"rbp train --like {run.id}{runs_dir_option(run, request)} with {wanted}"


def _check_data(run: RunDirectory) -> list[str]:
    """The command that checks the data of a run; none if they are the user's own."""
    try:
        name = read_resolved(run.preset_toml).data.name
    except PresetError:
        return []
    return [f"rbp data check {name}"] if is_catalogued(name) else []


def _lower_rate(run: RunDirectory, request: LaunchRequest) -> float:
    """The preset's own rate if that is lower, else a tenth of the run's, but at most the usual rate."""
    optim = read_resolved(run.preset_toml).optim
    own = request.without("lr").load().preset.optim.lr
    return own if own < optim.lr else min(optim.lr / 10, USUAL_RATE[optim.name])
