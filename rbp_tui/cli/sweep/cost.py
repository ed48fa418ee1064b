"""What runs take that are still to be trained, measured with progress on the terminal."""

from collections.abc import Mapping, Sequence

from rbp_engine.bench.sweep_cost import estimate_rest, measure_prices
from rbp_engine.plan.estimate import Estimate, Price
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.states import PointState
from rbp_engine.preset import LoadedPreset
from rbp_tui.cli.output import say
from rbp_tui.cli.progress import progress
from rbp_tui.text.format import counted


def estimate_of(plan: SweepPlan, states: Sequence[PointState], *, measure: bool) -> Estimate | None:
    """What the rest will take; None if nothing is left, or nothing is known of it."""
    return estimate_rest(plan, states, _measured if measure else None)


def _measured(presets: Mapping[str, LoadedPreset]) -> dict[str, Price]:
    say("[dim]--no-cost leaves out what is measured now[/]")
    return measured_prices(presets)


def measured_prices(presets: Mapping[str, LoadedPreset]) -> dict[str, Price]:
    """The price of each kind of run, measured by a few steps; of one that cannot be measured there is none."""
    if not presets:
        return {}
    count = counted(len(presets), "setting") + (" that differ in cost" if len(presets) > 1 else "")
    with progress(f"measuring a few steps of {count}") as report:
        return measure_prices(
            presets,
            on_progress=report,
            on_problem=lambda problem: say("[yellow]the cost of some runs is not known:[/] {}", problem),
        )
