"""The panels of the Monitor as plain text."""

import numpy as np

from rbp_engine.run.files.events import CheckpointSaved, ErrorRaised, Event, Metrics, RunStart, System, WarningRaised
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History, HistoryBuilder, RankProgress
from rbp_tui.dashboard.monitor.alerts import alert_text, alerts_beside, events_text
from rbp_tui.dashboard.monitor.ranks import ranks_text
from rbp_tui.text.format import BLOCKS
from rbp_tui.text.live_text import cost_text, memory_text, speed_text

GIB = 2**30


def gpu(rank, peak_gib=9.5, util=0.97, seen=100.0, step_ms=26.6):
    allocated, reserved = int(0.8 * peak_gib * GIB), int(0.9 * peak_gib * GIB)
    system = System(allocated, reserved, int(peak_gib * GIB), 2 * GIB, util, 400.0, step_ms, step_ms / 20)
    return RankProgress(rank, step=10, seen=seen, system=system)


def history(*bodies, ranks=(0,)):
    builder = HistoryBuilder()
    builder.add(Event(0, 0.0, 1, rank, 0, RunStart(world_size=len(ranks))) for rank in ranks)
    builder.add(Event(0, 1.0 + number, 1, ranks[-1], 5, body) for number, body in enumerate(bodies))
    return builder.history()


def test_what_has_not_been_measured_has_no_line():
    assert not memory_text({}, [], None, 20)
    assert not speed_text(History(processes=(RankProgress(0),)), 20)
    assert not cost_text(Summary("a", "digits", "e", "rate_m", 4, 1))


def test_an_ended_run_has_one_line_of_what_it_needed():
    summary = Summary("a", "digits", "e", "rate_m", 4, 1, mem_peak=4 * GIB, samples_per_s=4812.0, step_ms=26.6)
    assert cost_text(summary).plain == " 4.0 GiB peak memory   4\u202f812 samples/s   26.6 ms per step"


def test_speed_shows_the_share_of_data_and_the_least_busy_gpu():
    first, second = gpu(0, util=0.97), gpu(1, util=0.91)
    first.metrics = Metrics(0, 1.0, 0.5, 0.1, samples_per_s=4812.0, step_ms=26.6, data_ms=13.3)
    text = speed_text(History(processes=(first, second)), 0)
    assert "4\u202f812 samples/s   step 26.6 ms   data 50 %   GPU ≥ 91 %" in text.plain
    assert any("yellow" in str(span.style) for span in text.spans if "data" in text.plain[span.start : span.end])


def test_slow_and_silent_ranks_stand_out():
    processes = [gpu(0, step_ms=20.0), gpu(1, step_ms=20.0), gpu(2, step_ms=30.0, seen=10.0)]
    _, first, _, last = ranks_text(processes, 2).plain.rstrip("\n").split("\n")
    assert first.split() == ["0", "20.0", "+0", "%", "5", "%", "7.6", "GiB", "9.5", "GiB", "97", "%"]
    assert "+50 %" in last and last.endswith("silent 1m30")
    assert "silent" not in first


def test_an_alert_does_not_repeat_what_the_head_says():
    failed = history(WarningRaised("data stalled"), ErrorRaised("out of memory"), ranks=(0, 1))
    assert "rank 1: data stalled" in alert_text(alerts_beside(failed, "rank 1: out of memory")).plain
    assert "rank 1: out of memory   (1 before it)" in alert_text(alerts_beside(failed, "lost a process")).plain
    assert not alert_text(alerts_beside(history(), ""))


def rows_of(found, kept):
    return [row.split(maxsplit=1)[-1] for row in events_text(found, found.alerts, kept).plain.rstrip().split("\n")]


def test_only_existing_checkpoints_are_listed_and_the_best_is_marked():
    found = history(*(CheckpointSaved(f"step-0000000{step}", 2**20, best=step < 4) for step in range(1, 7)))
    kept = {"step-00000005", "step-00000006"}
    assert rows_of(found, kept) == ["checkpoints", "step-00000006  1 MiB", "step-00000005  1 MiB"]
    # best/ has a copy of the newest best checkpoint, even after its own folder was removed.
    assert rows_of(found, kept | {"best"})[-1] == "step-00000003  1 MiB  best"
    assert events_text(found, (), ()).plain == "checkpoints\nnone left\n"


def test_alerts_and_checkpoints_are_listed_newest_first():
    found = history(
        WarningRaised("slow\x1b[2J"),
        ErrorRaised("out of memory"),
        CheckpointSaved("step-00000001", 44 * 2**20, 120.0),
        CheckpointSaved("step-00000002", 44 * 2**20, 80.0, best=True),
    )
    assert rows_of(found, {"best", "step-00000001", "step-00000002"}) == [
        "alerts",
        "out of memory",
        r"slow\x1b[2J",
        "checkpoints",
        "step-00000002  44 MiB  80 ms  best",
        "step-00000001  44 MiB  120 ms",
    ]


def line(seconds, values):
    x = np.array(seconds)
    process = RankProgress(0, system=System(rss=1, mem_peak=1))
    text = memory_text({"memory": Curve(x, x, x, np.array(values))}, [process], None, 10).plain
    return text[text.index("memory ") + len("memory ") :][:10]


def test_lines_over_the_same_time_are_equally_long_however_many_points_they_have():
    assert line([0.0, 100.0], [1.0, 2.0]) == 9 * BLOCKS[4] + BLOCKS[-1]
    assert line([float(place) for place in range(101)], list(range(101)))[::9] == BLOCKS[0] + BLOCKS[-1]
    assert set(line([float(place) for place in range(101)], [5.0] * 101)) == {BLOCKS[-1]}


def test_before_the_first_value_a_line_is_blank_and_where_values_are_missing_it_goes_on():
    assert line([50.0, 100.0], [1.0, 2.0]) == 4 * " " + 5 * BLOCKS[4] + BLOCKS[-1]
    assert line([10.0, 20.0, 60.0, 100.0], [1.0, np.nan, 1.0, 2.0])[1:5] == 4 * BLOCKS[4]
