"""The queue under random schedules with crashes, in a simulated host: no run is lost, doubled or stuck.

`make races` tries 10 000 schedules. A failure names its seed: `simulate(seed)` in simulated_host.py replays it.
"""

import os
from dataclasses import replace

import pytest

from rbp_engine.run.queue.schedule import Step
from tests.races.simulated_host import Broken, Planted, simulate

SCHEDULES = int(os.environ.get("RBP_SCHEDULES", "200"))


def test_no_run_is_lost_doubled_or_stuck_whoever_dies_when():
    ended = 0
    for seed in range(SCHEDULES):
        try:
            ended += sum(run.ended for run in simulate(seed).runs.values())
        except Broken as broken:
            pytest.fail(f"simulate({seed}): {broken}")
    assert ended > SCHEDULES  # in most of them, several runs are trained to the end


def test_a_seed_replays_its_schedule():
    assert simulate(7).log == simulate(7).log != simulate(8).log


def hooks_last(action):
    return (Step.REMOVE_ENTRY, Step.RUN_HOOKS) if Step.RUN_HOOKS in action.steps else action.steps


NO_LOCKS = Planted(no_dispatcher_lock=True, no_host_lock=True)
#: What is planted, what is found, and a seed near the first that shows it, to save the time of the search.
PLANTED = {
    "locks that do not lock": (NO_LOCKS, "two runs have one device", 90),
    "an attempt that several can claim": (replace(NO_LOCKS, shared_attempts=True), "two workers", 0),
    "a device that several can claim": (
        Planted(no_dispatcher_lock=True, shared_devices=True),
        "two runs have one device",
        90,
    ),
    "hooks that run after the entry is gone": (Planted(steps_of=hooks_last), "the hooks of", 40),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault):
    planted, message, first = PLANTED[fault]
    with pytest.raises(Broken, match=message):
        for seed in range(first, first + 1000):
            try:
                simulate(seed, planted)
            except Broken as broken:
                if message in str(broken):
                    raise
