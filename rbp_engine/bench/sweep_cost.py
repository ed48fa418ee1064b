"""What runs take that are still to be trained, measured where others do not tell."""

from collections.abc import Callable, Mapping, Sequence

from rbp_engine.bench.cost import predict_cost
from rbp_engine.child import ChildError, Progress, no_progress, stage
from rbp_engine.plan.estimate import Estimate, Price, estimate, known_prices, unpriced
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.states import PointState, Standing
from rbp_engine.preset import LoadedPreset
from rbp_engine.run.queue.devices import pool_of_this_machine

#: Seconds that each kind of run is measured: its neighbours will disturb a run more than this is wrong by.
SECONDS = 1.0
#: Measures the price of each kind of run, by kind; of one that cannot be measured there is none.
Measure = Callable[[Mapping[str, LoadedPreset]], Mapping[str, Price]]


def estimate_rest(plan: SweepPlan, states: Sequence[PointState], measure: Measure | None) -> Estimate | None:
    """What the rest will take; None if nothing is left, or nothing is known of it.

    `measure` is only asked for kinds of runs of which none has been trained; without it they stay unknown. Raises
    UserError if the devices are not there.
    """
    if all(state.standing in (Standing.DONE, Standing.FAILED) for state in states):
        return None
    takes = plan.request.options.takes
    prices = known_prices(states, takes.world_size)
    if measure is not None and (unknown := unpriced(states, prices)):
        prices |= measure({kind: point.loaded for kind, point in unknown.items()})
    pool = pool_of_this_machine(plan.request.options.gpus, plan.points[0].loaded.preset.run.device, takes.processes)
    expected = estimate(states, prices, len(pool.devices) // takes.processes)
    return expected if expected.origins else None


def measure_prices(
    presets: Mapping[str, LoadedPreset],
    *,
    on_progress: Progress = no_progress,
    on_problem: Callable[[str], None] = lambda problem: None,
) -> dict[str, Price]:
    """The price of each kind of run, measured by a few steps, one after the other.

    `on_progress` is told what is being done and the share of all that is done, `on_problem` why a kind cannot be
    measured.
    """
    found: dict[str, Price] = {}
    for number, (kind, loaded) in enumerate(presets.items()):
        report = stage(on_progress, number, len(presets), f"{number + 1} of {len(presets)}: ")
        try:
            cost = predict_cost(loaded, seconds=SECONDS, quiet=True, on_progress=report)
        except ChildError as error:
            on_problem(str(error))
            continue
        epoch_s = cost.total_s / cost.epochs if cost.ended_by else cost.epoch_s
        start_s = max(0.0, cost.total_s - cost.epochs * epoch_s)
        found[kind] = Price(start_s, epoch_s, cost.memory, "a measurement")
    return found
