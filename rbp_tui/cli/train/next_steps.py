"""What to type when a run has ended."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbp_engine.run.cause import Cause
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

    def again(self) -> str:
        """The same once more."""
        return shlex.join(["rbp", "train", *self.words, *self.options])


def next_steps(run: "RunDirectory", summary: "Summary", verdict: "Verdict", given: Given | None = None) -> list[str]:
    """Commands, with a word on when or why where a resume alone does not do it; none while the run is live."""
    from rbp_engine.run.cause import Cause
    from rbp_tui.text.advice import BEFORE_RESUME, SAME_AGAIN
    from rbp_tui.text.run_text import short_id

    reference, cause = short_id(summary), verdict.cause
    if verdict.status == "completed":
        other = "rate_m" if summary.method == "bptt" else "bptt"
        compare = [given.command("method", "method.name", other)] if given else []
        return ["rbp ls", f"rbp runs show {reference}", *compare]
    if not verdict.resumable:
        return []
    logs = f"rbp logs {reference}"
    if cause.wants_new_run:
        return [logs, f"{_new_run(run, cause, given)} ({SAME_AGAIN[cause]})"]
    condition = f" ({BEFORE_RESUME[cause]})" if cause in BEFORE_RESUME else ""
    resume = f"rbp resume {reference}{condition}"
    if cause is Cause.DATA:
        return [*_check_data(run), resume, logs]
    if cause is Cause.UNRESPONSIVE:
        return [f"rbp kill {reference}", resume, logs]
    return [logs, resume] if cause is Cause.ERROR else [resume, logs]


def _new_run(run: "RunDirectory", cause: "Cause", given: Given | None) -> str:
    """The command of a run that does not end the same, as far as it can be told."""
    from rbp_engine.run.cause import Cause

    if cause is Cause.NON_FINITE:
        return _slower(run, given)
    if cause is Cause.OUT_OF_MEMORY:
        return _smaller(run, given)
    if cause is Cause.OWN_CODE and given is not None:
        return given.again()
    return "rbp train anew" if cause is Cause.OWN_CODE else "rbp train with other settings"


def _smaller(run: "RunDirectory", given: Given | None) -> str:
    """Start again with half of a batch at once."""
    from rbp_engine.preset import PresetError, read_resolved

    try:
        preset = read_resolved(run.preset_toml)
        parts = 2 * preset.train.accumulate
        if given is not None and parts <= preset.data.batch_size:
            return given.command("train.accumulate", "train.accumulate", str(parts))
    except PresetError:  # it has been changed or removed since
        pass
    return "rbp train with settings that the reason names"


def _check_data(run: "RunDirectory") -> list[str]:
    """The command that says what is wrong with the data of a run, unless they are the user's own."""
    from rbp_engine.data.catalog import CATALOG
    from rbp_engine.preset import PresetError, read_resolved

    try:
        name = read_resolved(run.preset_toml).data.name
    except PresetError:
        return []
    return [f"rbp data check {name}"] if name in CATALOG else []


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
