"""Comparisons: their baselines by name, processes that take turns, and one that ends early."""

import pytest

from rbp_engine.bench import baselines as made
from rbp_engine.bench.measure.interleave import MeasuredSide, Record, Turn
from rbp_engine.bench.measure.measurement import environment, temporary_run
from rbp_engine.bench.results.comparison import BASELINES, baselines, candidates, compare, rows_of
from rbp_engine.errors import UserError
from rbp_engine.preset import load_preset

TALKS = """\
from torch import nn

print("loaded")


class Talks(nn.Sequential):
    def __init__(self, *, num_classes, in_channels, neuron):
        super().__init__(nn.Conv2d(in_channels, 4, 8), neuron(), nn.Flatten(), nn.Linear(4, num_classes))

    def forward(self, x):
        print(x.shape)
        return super().forward(x)
"""
WORDS = ["T=1", "batch=4", "run.device=cpu"]


def test_the_output_of_a_users_network_is_not_taken_for_an_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(TALKS)
    with temporary_run(load_preset("digits", [*WORDS, "arch=nets.py:Talks"])) as run:
        side = Record(MeasuredSide(run))
        side.begin(environment(run))
        assert side.ask("1")["seconds"] > 0 and side.ask("count")["saved"] > 0
        assert side.ask("predict 2")["seconds"] > 0 and side.ask("floor 2")["seconds"] > 0
        side.close()


def test_ctrl_c_leaves_the_rounds_that_were_measured_before_it():
    def interrupt(doing: str, share: float) -> None:
        assert 0 <= share < 1 and doing.startswith("T = 1, ")
        if "round 3" in doing:
            raise KeyboardInterrupt

    wanted = candidates("digits", WORDS[1:], methods=["rate_m"], timesteps=[1, 2], against=[])
    rows, whole = compare(wanted, rounds=5, predictions=True, on_progress=interrupt)
    assert not whole and [row.timesteps for row in rows] == [1]
    measured = rows[0].measured
    assert measured.rounds == 2
    assert 0 < measured.predict_seconds < measured.seconds
    assert measured.spread >= 0
    assert (measured.peak, measured.saved, measured.units) == (None, None, None)


def test_a_round_on_a_busy_machine_changes_no_ratio_of_times_and_is_kept_as_it_was_and_called_unreliable():
    wanted = candidates("digits", WORDS, methods=["rate_m"], timesteps=[1], kernels=["eager"], against=["spikingjelly"])

    def measured(seconds, slower):
        record = Record(MeasuredSide(None))
        record.turns = [Turn(slow * seconds, slow * seconds / 2, busy=slow - 1) for slow in slower]
        record.turn_peaks, record.counted = [100.0 * seconds], {"saved": 1, "units": 3.0}
        return record.result()

    *peers, ours = rows_of(wanted, [measured(seconds, (1.0, 1.5, 1.25)) for seconds in (4, 2, 1)])
    assert [row.time for row in peers] == [2.0, 1.0] and (ours.time, ours.over_floor, ours.memory) == (0.5, 2.0, 0.5)
    assert [turn["busy"] for turn in ours.as_json()["turns"]] == [0.0, 0.5, 0.25]
    assert not ours.measured.reliable and measured(1, (1.0, 1.1)).reliable
    *_, interrupted = rows_of(wanted, [measured(4, (1.0,)), measured(2, (1.0,)), measured(1, (1.0, 3.0))])
    assert interrupted.time == 0.5


def test_a_baseline_is_measured_in_both_memory_formats_and_kernels_at_each_precision_and_our_method_in_its_own():
    asked = {"methods": ["rate_m"], "timesteps": [2], "against": ["spikingjelly"]}
    every = candidates("digits", ["batch=4"], precisions=["fp32", "bf16"], **asked)
    shown = [
        (one.title, one.loaded.preset.train.precision, one.loaded.preset.train.kernel, one.layout) for one in every
    ]
    kinds = [(kernel, layout) for layout in ("NCHW", "NHWC") for kernel in ("eager", "compiled")]
    for precision, rows in (("fp32", shown[:5]), ("bf16", shown[5:])):
        assert rows == [
            *[(f"SpikingJelly, {kernel}, {layout}", precision, kernel, layout) for kernel, layout in kinds],
            ("rate_M", precision, "auto", ""),
        ]
    eager = candidates("digits", ["batch=4"], kernels=["eager"], **asked)
    assert {one.loaded.preset.train.kernel for one in eager} == {"eager"} and len(eager) == 3


def test_a_baseline_trains_by_autocast_where_our_method_has_that_precision():
    with temporary_run(load_preset("digits", [*WORDS, "train.kernel=eager", "train.precision=bf16"])) as run:
        side = Record(MeasuredSide(run, "spikingjelly", layout="NHWC"))
        side.begin(environment(run))
        assert side.ask("1")["seconds"] > 0 and side.ask("floor 1")["seconds"] > 0
        assert side.ask("predict 1")["seconds"] > 0 and side.ask("count")["saved"] > 0
        side.close()


def test_named_baselines_keep_their_order_all_are_those_that_can_be_made_and_an_unknown_one_is_refused():
    assert baselines(["ann", "memopt"]) == ["ann", "memopt"]
    assert baselines(["all"]) == list(made.BASELINES) == list(BASELINES)
    with pytest.raises(UserError, match=r"no baseline is called 'torch': one of spikingjelly, memopt, .*, or all"):
        baselines(["memopt", "torch"])
