"""The accuracy after each timestep over training, folded from events."""

from typing import Any

import pytest

from rbp_engine.printable import one_line
from rbp_engine.run.files.events import Body, Event, RunStart, Validation
from rbp_engine.run.status.history import HistoryBuilder
from rbp_engine.run.status.samples import AccuracyHistory


def event(step: int, body: Body, attempt: int = 1) -> Event:
    return Event(step, float(step), attempt, 0, step, body)


def validation(epoch: int, top1_by_step: Any, split: str = "held-out", weights: str = "last") -> Validation:
    return Validation(epoch, 0.1, 0.9, 1.0, 360, one_line(split), one_line(weights), top1_by_step)


def folded(*events: Event) -> AccuracyHistory | None:
    builder = HistoryBuilder()
    builder.add(events)
    return builder.history().accuracy


def test_each_epoch_has_a_row_and_the_final_test_none() -> None:
    found = folded(
        event(0, RunStart(steps_per_epoch=10)),
        event(10, validation(1, [0.5, 0.8])),
        event(20, validation(2, [0.7, 0.9])),
        event(20, validation(2, [0.1, 0.1], "test")),
        event(20, validation(2, [0.2, 0.2], "test", "best")),
    )
    assert found is not None
    assert found.top1_by_step.tolist() == [[0.5, 0.8], [0.7, 0.9]]
    assert found.step.tolist() == [10.0, 20.0] and found.epoch.tolist() == [1.0, 2.0]
    assert found.at(13) == 0 and found.at(400) == 1


def test_a_resume_drops_what_it_repeats() -> None:
    found = folded(
        event(10, validation(1, [0.5, 0.8])),
        event(20, validation(2, [0.7, 0.9])),
        event(15, RunStart(epoch=1), attempt=2),
        event(20, validation(2, [0.6, 0.85]), attempt=2),
    )
    assert found is not None
    assert found.top1_by_step.tolist() == [[0.5, 0.8], [0.6, 0.85]]


@pytest.mark.parametrize("damaged", [None, [], ["x"], [[0.1]], {"a": 1}, [0.1, 0.2, 0.3], [0.1, 10**400]])
def test_damaged_evaluations_and_those_of_another_t_are_left_out(damaged: Any) -> None:
    found = folded(event(10, validation(1, [0.5, 0.8])), event(20, validation(2, damaged)))
    assert found is not None and found.top1_by_step.tolist() == [[0.5, 0.8]]
    assert folded(event(10, validation(1, None))) is None
