"""A sweep in words: how many runs it has, how they stand, and what the rest takes."""

from collections.abc import Sequence

from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.states import PointState, Standing, counts
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import setting_heading


def plan_text(plan: SweepPlan) -> str:
    """How many runs there are, as `12 runs: 6 combinations of method, T × seeds 1, 2`."""
    seeds = list(dict.fromkeys(point.seed for point in plan.points))
    keys = ", ".join(map(setting_heading, plan.keys))
    of = f"{fmt.counted(len(plan.trials), 'combination')} of {keys}" if keys else "the preset"
    with_seeds = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    return f"{fmt.counted(len(plan.points), 'run')}: {of} × {with_seeds}"


def standings_text(states: Sequence[PointState]) -> str:
    """How the runs stand, as `4 done, 8 to be created`."""
    return ", ".join(f"{count} {standing}" for standing, count in counts(states).items() if count)


def failed_count(states: Sequence[PointState]) -> int:
    """How many runs have failed."""
    return counts(states)[Standing.FAILED]


def cost_text_of(expected: Estimate, *, at_most: bool = False) -> list[str]:
    """What the rest takes, and how that is known, in one line or two; `at_most` if runs may be pruned."""
    at_a_time = f"{expected.slots} at a time" if expected.slots > 1 else "one after the other"
    memory = "" if expected.memory is None else f", at most {fmt.size(expected.memory)} each"
    first = (
        f"{'at most' if at_most else 'about'} {fmt.duration(expected.seconds)}, {at_a_time} "
        f"({fmt.duration(expected.device_s)} of devices){memory}; "
        f"known from {' and '.join(expected.origins)}"
    )
    return [first, *([f"not known of {fmt.counted(expected.unknown, 'run')}"] if expected.unknown else [])]
