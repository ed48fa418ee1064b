"""What to type when a run has ended."""

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.files.summary import Summary
    from rbp_engine.run.request import LaunchRequest
    from rbp_engine.run.status.status import Verdict

#: Learning rates at which training usually goes well, by optimizer.
USUAL_RATE = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3}


def next_steps(
    run: "RunDirectory", summary: "Summary", verdict: "Verdict", request: "LaunchRequest | None" = None
) -> list[str]:
    """Commands, and for one that has diverged why there is no resume among them; none while the run is live."""
    from rbp_engine.run.status.retryable import has_diverged
    from rbp_tui.text.run_text import short_id

    reference = short_id(summary)
    if verdict.status == "completed":
        other = "rate_m" if summary.method == "bptt" else "bptt"
        compare = [shlex.join(request.changed("method", other).command)] if request else []
        return ["rbp ls", f"rbp runs show {reference}", *compare]
    if has_diverged(verdict):
        return [f"rbp logs {reference}", f"{_slower(run, request)} (a resume, with the same settings, ends the same)"]
    return [f"rbp resume {reference}", f"rbp logs {reference}"] if verdict.resumable else []


def _slower(run: "RunDirectory", request: "LaunchRequest | None") -> str:
    """Start again with a lower learning rate."""
    from rbp_engine.preset import PresetError

    try:
        if request is not None:
            return shlex.join(request.changed("lr", f"{_lower_rate(run, request):g}").command)
    except PresetError:  # it has been changed or removed since
        pass
    return "rbp train with a lower lr, or optim.warmup_epochs"


def _lower_rate(run: "RunDirectory", request: "LaunchRequest") -> float:
    """The preset's own rate where that is lower, else a tenth; of one that nobody trains with, what is usual."""
    from rbp_engine.preset import read_resolved

    optim = read_resolved(run.preset_toml).optim
    own = request.without("lr").load().preset.optim.lr
    return own if own < optim.lr else min(optim.lr / 10, USUAL_RATE[optim.name])
