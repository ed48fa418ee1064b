"""Commands to suggest when a run has ended."""

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbp_engine.run.cause import Cause
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.files.summary import Summary
    from rbp_engine.run.request import LaunchRequest
    from rbp_engine.run.status.status import Verdict

#: Learning rates at which training usually goes well, by optimizer.
USUAL_RATE = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3}


def next_steps(
    run: "RunDirectory", summary: "Summary", verdict: "Verdict", request: "LaunchRequest | None" = None
) -> list[str]:
    """Commands, with a condition or a reason if a resume alone does not help; none while the run is live."""
    from rbp_engine.run.cause import Cause
    from rbp_tui.text.advice import RESUME_CONDITIONS, WHY_RESUME_FAILS
    from rbp_tui.text.run_text import short_id

    reference, cause = short_id(summary), verdict.cause
    if verdict.status == "completed":
        other = "rate_m" if summary.method == "bptt" else "bptt"
        compare = [shlex.join(request.changed("method", other).command)] if request else []
        return ["rbp ls", f"rbp runs show {reference}", *compare]
    if not verdict.resumable:
        return []
    logs = f"rbp logs {reference}"
    if cause.wants_new_run:
        return [logs, f"{_new_run(run, cause, request)} ({WHY_RESUME_FAILS[cause]})"]
    condition = f" ({RESUME_CONDITIONS[cause]})" if cause in RESUME_CONDITIONS else ""
    resume = f"rbp resume {reference}{condition}"
    if cause is Cause.DATA:
        return [*_check_data(run), resume, logs]
    if cause is Cause.UNRESPONSIVE:
        return [f"rbp kill {reference}", resume, logs]
    return [logs, resume] if cause is Cause.ERROR else [resume, logs]


def _new_run(run: "RunDirectory", cause: "Cause", request: "LaunchRequest | None") -> str:
    """The command of a new run that avoids the cause, as far as it is known."""
    from rbp_engine.run.cause import Cause

    if cause is Cause.NON_FINITE:
        return _slower(run, request)
    if cause is Cause.OUT_OF_MEMORY:
        return _smaller(run, request)
    if cause is Cause.OWN_CODE and request is not None:
        return shlex.join(request.command)
    return "rbp train anew" if cause is Cause.OWN_CODE else "rbp train with other settings"


def _smaller(run: "RunDirectory", request: "LaunchRequest | None") -> str:
    """The command of a new run that splits each batch into twice as many parts."""
    from rbp_engine.preset import PresetError, read_resolved

    try:
        preset = read_resolved(run.preset_toml)
        parts = 2 * preset.train.accumulate
        if request is not None and parts <= preset.data.batch_size:
            return shlex.join(request.changed("train.accumulate", str(parts)).command)
    except PresetError:  # it has been changed or removed since
        pass
    return "rbp train with the settings that the reason names"


def _check_data(run: "RunDirectory") -> list[str]:
    """The command that checks the data of a run; none if they are the user's own."""
    from rbp_engine.data.catalog import CATALOG
    from rbp_engine.preset import PresetError, read_resolved

    try:
        name = read_resolved(run.preset_toml).data.name
    except PresetError:
        return []
    return [f"rbp data check {name}"] if name in CATALOG else []


def _slower(run: "RunDirectory", request: "LaunchRequest | None") -> str:
    """The command of a new run with a lower learning rate."""
    from rbp_engine.preset import PresetError

    try:
        if request is not None:
            return shlex.join(request.changed("lr", f"{_lower_rate(run, request):g}").command)
    except PresetError:  # it has been changed or removed since
        pass
    return "rbp train with a lower lr, or optim.warmup_epochs"


def _lower_rate(run: "RunDirectory", request: "LaunchRequest") -> float:
    """The preset's own rate if that is lower, else a tenth of the run's, but at most the usual rate."""
    from rbp_engine.preset import read_resolved

    optim = read_resolved(run.preset_toml).optim
    own = request.without("lr").load().preset.optim.lr
    return own if own < optim.lr else min(optim.lr / 10, USUAL_RATE[optim.name])
