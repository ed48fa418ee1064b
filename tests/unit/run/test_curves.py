"""Curves that are built as events arrive."""

from collections.abc import Iterable

import numpy as np

from rbp_engine.run.files.events import Event, Metrics, RunStart, System, Validation
from rbp_engine.run.status.curves import Curve, CurveBuilder


def add(builder: CurveBuilder, events: Iterable[Event]) -> None:
    for event in events:
        builder.add(event)


def metrics(step: int) -> Metrics:
    return Metrics(epoch=0, loss=1.0 / (1 + step), top1=0.5, lr=0.1)


def test_an_unchanged_curve_is_the_same_object() -> None:
    builder = CurveBuilder()
    add(builder, [Event(0, 1.0, 1, 0, 1, metrics(1)), Event(1, 1.0, 1, 0, 1, System(rss=1))])
    before = builder.curves()
    add(builder, [Event(2, 2.0, 1, 0, 2, metrics(2))])
    after = builder.curves()
    assert after["memory"] is before["memory"]
    assert after["train/loss"] is not before["train/loss"]


def test_other_ranks_have_only_memory_curves() -> None:
    builder = CurveBuilder()
    gpu = System(mem_allocated=5, mem_reserved=6, mem_peak=7)
    add(builder, [Event(0, 1.0, 1, 0, 1, metrics(1)), Event(0, 1.0, 1, 2, 1, metrics(1)), Event(1, 1.0, 1, 2, 1, gpu)])
    curves = builder.curves()
    assert len(curves["train/loss"]) == 1
    assert {name: curve.value.tolist() for name, curve in curves.items() if name.endswith("/2")} == {
        "memory/2": [5.0], "mem_reserved/2": [6.0], "mem_peak/2": [7.0],
    }  # fmt: skip


def test_time_between_attempts_is_left_out_of_the_time_axis() -> None:
    builder = CurveBuilder()
    add(
        builder,
        [
            Event(0, 100.0, 1, 0, 0, RunStart()),
            Event(1, 110.0, 1, 0, 1, metrics(1)),
            Event(2, 5000.0, 2, 0, 1, RunStart()),
            Event(3, 5010.0, 2, 0, 2, metrics(2)),
        ],
    )
    assert builder.curves()["train/loss"].seconds.tolist() == [10.0, 20.0]


def test_a_line_has_a_gap_where_events_were_lost_and_only_there() -> None:
    """The events of steps 3 and 4 and the evaluation after epoch 2 are lost; that after epoch 1 came before."""

    def validation(epoch: int) -> Validation:
        return Validation(epoch=epoch, loss=1.0, top1=epoch / 10, top5=None, samples=1)

    def told(*rows: tuple[int, int, Metrics | Validation | RunStart | System]) -> dict[str, Curve]:
        builder = CurveBuilder()
        add(
            builder, [Event(seq, 100.0 + seq, attempt, 0, step, body) for seq, (attempt, step, body) in enumerate(rows)]
        )
        return builder.curves()

    first = [
        (1, 0, RunStart(epoch=0, steps_per_epoch=2)),
        (1, 1, metrics(1)),
        (1, 1, System(rss=1)),
        (1, 2, metrics(2)),
    ]
    first.append((1, 2, validation(1)))
    lost = told(
        *first,
        (2, 4, RunStart(epoch=2, steps_per_epoch=2, gap_from=2)),
        (2, 5, metrics(5)),
        (2, 5, System(rss=1)),
        (2, 6, metrics(6)),
        (2, 6, validation(3)),
    )
    assert lost["train/loss"].step.tolist() == [1, 2, 4, 5, 6]
    assert np.isnan(lost["train/loss"].value).tolist() == [False, False, True, False, False]
    assert np.isnan(lost["memory"].value).tolist() == [False, True, False]
    assert lost["validation/top1"].epoch.tolist() == [1, 2, 3]
    assert np.isnan(lost["validation/top1"].value).tolist() == [False, True, False]

    in_mid_epoch = told(*first, (2, 3, RunStart(epoch=1, steps_per_epoch=2, gap_from=2)), (2, 4, validation(2)))
    assert in_mid_epoch["validation/top1"].value.tolist() == [0.1, 0.2], "no evaluation is missing"
