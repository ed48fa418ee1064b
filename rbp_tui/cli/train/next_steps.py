"""What to type when a run has ended."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.files.summary import Summary
    from rbp_engine.run.status.status import Verdict

#: Learning rates at which training usually goes well, by optimizer.
USUAL_RATE = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3}


@dataclass(frozen=True)
class Given:
    """How a run was asked for: the preset and its overrides as they were typed, and the options to type after them."""

    words: tuple[str, ...]
    options: tuple[str, ...] = ()

    def without(self, *names: str) -> list[str]:
        """The words but those that give a setting by one of these names."""
        return [word for word in self.words if word.partition("=")[0] not in names]

    def command(self, short: str, key: str, value: str) -> str:
        """The same with another value of a setting, whichever of its two names it was given by."""
        return shlex.join(["rbp", "train", *self.without(short, key), f"{short}={value}", *self.options])


def next_steps(run: "RunDirectory", summary: "Summary", verdict: "Verdict", given: Given | None = None) -> list[str]:
    """Commands, and for one that has diverged why there is no resume among them; none while the run is live."""
    from rbp_engine.run.cause import Cause
    from rbp_tui.text.run_text import short_id

    reference = short_id(summary)
    if verdict.status == "completed":
        other = "rate_m" if summary.method == "bptt" else "bptt"
        compare = [given.command("method", "method.name", other)] if given else []
        return ["rbp ls", f"rbp runs show {reference}", *compare]
    if verdict.cause is Cause.NON_FINITE:
        return [f"rbp logs {reference}", f"{_slower(run, given)} (a resume, with the same settings, ends the same)"]
    return [f"rbp resume {reference}", f"rbp logs {reference}"] if verdict.resumable else []


def _slower(run: "RunDirectory", given: Given | None) -> str:
    """Start again with a lower learning rate."""
    from rbp_engine.preset import PresetError

    try:
        if given is not None:
            return given.command("lr", "optim.lr", f"{_lower_rate(run, given):g}")
    except PresetError:  # it has been changed or removed since
        pass
    return "rbp train with a lower lr, or optim.warmup_epochs"


def _lower_rate(run: "RunDirectory", given: Given) -> float:
    """The preset's own rate where that is lower, else a tenth; of one that nobody trains with, what is usual."""
    from rbp_engine.preset import load_preset, read_resolved

    optim = read_resolved(run.preset_toml).optim
    preset, *overrides = given.without("lr", "optim.lr")
    own = load_preset(preset, overrides).preset.optim.lr
    return own if own < optim.lr else min(optim.lr / 10, USUAL_RATE[optim.name])
