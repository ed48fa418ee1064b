"""How long a run has been at work, and how long it still needs."""

from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.files.events import Event, Heartbeat, Metrics, RunStart
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.history import Attempt, Mark, attempt_remaining_s, elapsed_s


def attempt(number: int, begun: float, step: int, told: list[tuple[float, int]]) -> Attempt:
    """An attempt that began then, with metrics at these times and steps."""
    made = Attempt(number, Mark(begun, step), begun, RunStart())
    for t, at in told:
        made.add(Event(0, t, number, 0, at, Metrics(epoch=0, loss=1.0, top1=0.5, lr=0.1)))
    return made


def summary(**changes: object) -> Summary:
    values = {"id": "r", "preset": "digits", "experiment": "e", "method": "rate_m", "timesteps": 4, "seed": 1}
    return Summary(**(values | {"steps": 1000} | changes))


def test_the_time_between_attempts_does_not_count_as_elapsed():
    attempts = [attempt(1, 100.0, 0, [(160.0, 50)]), attempt(2, 90_000.0, 50, [(90_030.0, 80)])]
    assert elapsed_s(attempts) == 60.0 + 30.0
    assert elapsed_s(attempts, now=90_040.0) == 60.0 + 40.0


def test_after_a_resume_the_time_left_follows_the_new_pace():
    slow = attempt(1, 0.0, 0, [(10.0, 1), (1010.0, 101)])  # 10 s per step
    fast = attempt(2, 50_000.0, 101, [(50_010.0, 110), (50_020.0, 130)])  # half a second per step
    assert attempt_remaining_s([slow, fast], summary(step=130, attempt=2, trained_s=1030.0)) == 870 * 0.5


def test_evaluations_are_part_of_the_pace():
    told = [(0.0, 10), (1.0, 20), (31.0, 20), (32.0, 30)]
    assert attempt_remaining_s([attempt(1, 0.0, 0, told)], summary(step=30)) == 970 * 32.0 / 20


def test_after_a_burst_of_metrics_the_pace_is_the_step_time():
    burst = [(10.0, 10), (10.001, 20), (10.002, 30)]
    assert attempt_remaining_s([attempt(1, 0.0, 0, burst)], summary(step=30, step_ms=100.0)) == 97.0


def test_the_time_left_is_unknown_before_a_new_attempt_has_trained():
    done = attempt(1, 0.0, 0, [(10.0, 10), (20.0, 20)])
    assert attempt_remaining_s([done], summary(step=20, attempt=2, step_ms=100.0)) is None
    assert attempt_remaining_s([done, attempt(2, 90.0, 20, [])], summary(step=20, attempt=2, step_ms=100.0)) is None
    assert attempt_remaining_s([], summary()) is None


def test_only_rank_0_sets_the_pace_but_every_rank_is_a_sign_of_life():
    made = attempt(1, 0.0, 0, [(10.0, 10)])
    made.add(Event(0, 20.0, 1, 3, 20, Metrics(epoch=0, loss=None, top1=None, lr=0.1)))
    made.add(Event(0, 15.0, 1, 0, 12, Heartbeat()))
    assert made.newest.step == 10
    assert made.last_seen == 20.0


times = st.floats(0, 1e9)


@given(st.lists(st.tuples(times, st.lists(st.tuples(times, st.integers(0, 10**6)), max_size=5)), max_size=4), times)
def test_no_time_is_negative_whatever_the_clocks_do(told, now):
    attempts = [attempt(number, begun, 0, marks) for number, (begun, marks) in enumerate(told, start=1)]
    assert elapsed_s(attempts) >= 0
    assert elapsed_s(attempts, now) >= elapsed_s(attempts)
    left = attempt_remaining_s(attempts, summary(attempt=len(attempts), step_ms=1.0))
    assert left is None or left >= 0
