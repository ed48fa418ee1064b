"""What runs take that are still to be trained, measured where others do not tell."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rbp_tui.cli.output import say
from rbp_tui.cli.progress import progress
from rbp_tui.cli.train.interrupts import end_on_sigterm
from rbp_tui.text.format import counted

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.sweep.estimate import Estimate, Price
    from rbp_engine.sweep.plan import SweepPlan
    from rbp_engine.sweep.states import PointState

# Seconds that each kind of run is measured: its neighbours will disturb a run more than this is wrong by.
SECONDS = 1.0


def estimate_rest(plan: "SweepPlan", states: "Sequence[PointState]", *, measure: bool) -> "Estimate | None":
    """What the rest will take; None if nothing is left, or nothing is known of it."""
    from rbp_engine.run import start
    from rbp_engine.sweep.estimate import estimate, known_prices, unpriced
    from rbp_engine.sweep.states import Standing

    if all(state.standing in (Standing.DONE, Standing.FAILED) for state in states):
        return None
    prices = known_prices(states)
    if measure and (unknown := unpriced(states, prices)):
        say("[dim]--no-cost leaves out what is measured now[/]")
        prices |= measured_prices({kind: point.loaded for kind, point in unknown.items()})
    pool = start.pool_for(plan.request.takes, plan.request.gpus or "auto", plan.points[0].loaded.preset.run.device)
    expected = estimate(states, prices, len(pool.devices) // plan.request.takes.processes)
    return expected if expected.origins else None


def measured_prices(presets: "Mapping[str, LoadedPreset]") -> "dict[str, Price]":
    """The price of each kind of run, measured by a few steps; of one that cannot be measured there is none."""
    from rbp_engine.bench.cost import predict_cost
    from rbp_engine.bench.measure.measurement import MeasurementError
    from rbp_engine.sweep.estimate import Price

    found: dict[str, Price] = {}
    if not presets:
        return found
    end_on_sigterm()
    count = counted(len(presets), "setting") + (" that differ in cost" if len(presets) > 1 else "")
    with progress(f"measuring a few steps of {count}") as report:
        for number, (kind, loaded) in enumerate(presets.items()):

            def on_progress(doing: str, share: float, before: int = number) -> None:
                report(f"{before + 1} of {len(presets)}: {doing}", (before + share) / len(presets))

            try:
                cost = predict_cost(loaded, seconds=SECONDS, quiet=True, on_progress=on_progress)
            except MeasurementError as error:
                say("[yellow]the cost of some runs is not known:[/] {}", error)
                continue
            start_s = max(0.0, cost.total_s - cost.epochs * cost.epoch_s)
            found[kind] = Price(start_s, cost.epoch_s, cost.memory, "a measurement")
    return found
