"""`rbp_engine.run.track` in this process: what is recorded, how runs end, and what never disturbs the loop."""

import contextlib
import fcntl
import json
import math
import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.preset import load_preset
from rbp_engine.report.collect import collect
from rbp_engine.run import control, start, track
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import run_json
from rbp_engine.run.files.events import ErrorRaised, Metrics, Probe, RunEnd, RunStart, Validation, WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import fold, load_summary
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.run_settings import read_settings
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.tracking import track as module
from rbp_engine.run.tracking.given import Part, given_settings, place_of, sort_numbers
from rbp_engine.run.tracking.track import TrackedRun
from rbp_engine.untrusted_files import parse_toml
from tests.full_disk import files_of_at_most
from tests.run_files import bodies_of

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


def bodies(run: TrackedRun, kind: Any) -> list[Any]:
    return bodies_of(RunDirectory(run.folder), kind)


def test_a_loop_becomes_a_run_with_the_files_that_every_run_has(tmp_path):
    given = {"lr": 0.1, "batch": 16, "seed": 3, "model": {"name": "mine", "depth": 4}, "dropout": 0.2}
    with track(given, name="foreign", tags=["x"], epochs=2, steps_per_epoch=3, runs_dir=tmp_path) as run:
        for epoch in (1, 2):
            for _ in range(3):
                run.log({"train/loss": 1.0 / epoch, "acc": 0.5, "grad_norm": 2.0}, lr=0.1)
            run.log(epoch=epoch, val={"loss": 0.4, "top1": 0.6 + epoch / 10})
    assert run.id
    summary = load_summary(RunDirectory(run.folder))
    assert (summary.status, summary.step, summary.steps, summary.epoch, summary.epochs) == ("completed", 6, 6, 2, 2)
    assert (summary.last.top1, summary.best.epoch, summary.train.loss) == (0.8, 2, 0.5)
    assert (summary.seed, summary.name, summary.tags) == (3, "foreign", ["x"]) and summary.program
    assert [one.epoch for one in bodies(run, Validation)] == [1, 2]
    metrics = bodies(run, Metrics)
    assert [one.step_ms is not None for one in metrics] == [False, True, True, True, True, True]
    assert metrics[1].samples_per_s is not None
    assert [one.values for one in bodies(run, Probe)] == [2.0] * 6
    assert len(bodies(run, RunStart)) == len(bodies(run, RunEnd)) == 1
    (record,) = list_runs(tmp_path)
    for query in ("lr=0.1", "arch=mine", "settings.dropout<0.3", "settings.model.depth=4", "batch=16", "best=80"):
        assert parse_query(query)(record), query


def test_numbers_that_come_as_text_are_numbers_where_presets_have_them_and_a_seed_is_a_whole_one():
    found = given_settings({"lr": "0.1", "batch": "64", "seed": "3", "note": "5", "optim.name": "sgd"}).values
    assert found == {"optim.lr": 0.1, "data.batch_size": 64, "run.seed": 3, "settings.note": "5", "optim.name": "sgd"}
    for no_seed in ("abc", "1.5", 1.5, -1, True):
        assert given_settings({"seed": no_seed}).values == {"settings.seed": no_seed}
    assert given_settings({"batch": "many"}).values == {"data.batch_size": "many"}


@given(st.dictionaries(st.text(max_size=8) | st.integers(), ANYTHING, max_size=6))
@settings(max_examples=30)
def test_any_dictionary_can_be_kept_and_its_seed_is_no_part_of_the_experiment(given_):
    found = given_settings(given_)
    assert isinstance(parse_toml(found.toml()), dict)
    with_seeds = [given_settings({**given_, "seed": seed}).experiment("p") for seed in (1, 2)]
    assert with_seeds[0] == with_seeds[1]
    lrs = [given_settings({**given_, "lr": lr}) for lr in (0.123, 0.1)]
    assert len({given.experiment(program) for given in lrs for program in ("p", "q")}) == 4


def test_more_settings_than_anybody_reads_are_refused_before_anything_is_created(tmp_path):
    with (
        pytest.raises(RunError, match="more than 500 settings"),
        track({f"k{n}": n for n in range(501)}, runs_dir=tmp_path),
    ):
        pytest.fail("it has begun")
    assert not list(tmp_path.iterdir())


class Unprintable:
    """A setting whose text, comparison and truth all raise."""

    def __raise(self, *args: object) -> Any:
        raise RuntimeError("no text")

    __str__ = __repr__ = __eq__ = __bool__ = __len__ = __float__ = __raise
    __hash__ = None


class Unreadable(dict[str, Any]):
    def items(self) -> Any:
        raise OSError("gone")


def test_settings_that_have_no_text_are_kept_as_that_and_those_that_cannot_be_read_are_refused(tmp_path):
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with track({"odd": Unprintable(), "huge": 10**5000, 10**5000: 1, "deep": deep}, runs_dir=tmp_path) as run:
        run.log(loss=0.5)
    kept = read_settings(RunDirectory(run.folder))
    assert kept.get("settings.odd") == "(Unprintable, not kept: RuntimeError)"
    assert kept.get("settings.huge") == "(int, not kept: ValueError)"
    assert load_summary(RunDirectory(run.folder)).status == "completed"
    with pytest.raises(RunError, match=r"these settings cannot be read: OSError: OSError\('gone'\)"):
        given_settings({"a": Unreadable(b=1)})


def test_what_is_planned_is_whole_numbers_or_refused_before_anything_is_created(tmp_path):
    refused: list[tuple[dict[str, Any], str]] = [
        ({"epochs": 3, "steps_per_epoch": 31.25}, "steps_per_epoch=31.25: expected a whole number from 0"),
        ({"epochs": "3"}, "epochs='3'"),
        ({"epochs": -1}, "epochs=-1"),
        ({"steps": 10**5000}, "steps="),
        ({"epochs": Unprintable()}, "epochs=<Unprintable instance"),
        ({"epochs": 2**62, "steps_per_epoch": 2**62}, r"steps_per_epoch \* epochs="),
    ]
    for given_, message in refused:
        with pytest.raises(RunError, match=message), track({}, runs_dir=tmp_path, **given_):
            pytest.fail("it has begun")
    assert not list(tmp_path.iterdir())
    with track({}, runs_dir=tmp_path, epochs=np.int64(2), steps_per_epoch=4.0) as run:
        run.log(loss=0.5)
    assert load_summary(RunDirectory(run.folder)).steps == 8


@given(st.dictionaries(st.text(max_size=8) | st.integers(), ANYTHING, max_size=6))
@settings(max_examples=30)
def test_whatever_is_logged_becomes_finite_numbers_or_is_refused_by_name(given_):
    found = sort_numbers(given_)
    json.dumps([found.parts, found.refused], allow_nan=False)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("train/acc", (Part.TRAINING, "top1")),
        ("learning_rate", (Part.TRAINING, "lr")),
        ("Val.Accuracy", (Part.HELD_OUT, "top1")),
        ("test/top5", (Part.TEST, "top5")),
        ("val/lr", (Part.OWN, "val/lr")),
        ("Accuracy/test", (Part.TEST, "top1")),
        ("layer_test", (Part.OWN, "layer_test")),
        ("validity", (Part.OWN, "validity")),
        ("layer/1/loss", (Part.OWN, "layer/1/loss")),
    ],
)
def test_names_are_those_that_people_write(name, place):
    assert place_of(name) == place


class Fetched:
    """A number on a device."""

    def __init__(self) -> None:
        self.count = 0

    def item(self) -> float:
        self.count += 1
        return 0.25


def test_odd_values_neither_raise_nor_are_they_lost_in_silence(tmp_path, caplog):
    fetched = Fetched()
    with track({}, runs_dir=tmp_path) as run:
        run.log(loss=math.nan, x=torch.tensor([2.0]), y=fetched)
        run.log(loss=torch.tensor(0.5), many=torch.zeros(3), text="hello", top1=93.1)
        run.log(loss=object(), step="seven")
        run.log([1, 2])
        run.log(many=torch.zeros(3))
        run.log(loss=0.7, epoch=10**25)
        run.log(loss=0.8, step=10**30)
        run.log({"val/loss": 0.4, "val/samples": 1e300})
    assert load_summary(RunDirectory(run.folder)).status == "completed"
    assert len(bodies(run, Validation)) == 1
    assert fetched.count == 1
    assert [one.loss for one in bodies(run, Metrics)] == [None, 0.5]
    assert {one.name: one.values for one in bodies(run, Probe)} == {"x": 2.0, "y": 0.25, "top1": 93.1}
    said = [str(one.message) for one in bodies(run, WarningRaised)]
    assert len([one for one in said if "log(many)" in one]) == 1  # once, however often
    for part in (
        "log(text): str, no number",
        "log(top1): 93.1, while accuracies are from 0 to 1",
        "log: TypeError",
        "epoch=10000000000000000000000000: expected a whole number",
        "step=1000",
    ):
        assert any(part in one for one in said), said
        assert part in caplog.text
    run.log(loss=1.0)  # after its end


def test_the_reason_of_an_exception_is_recorded_and_the_exception_goes_on(tmp_path):
    with pytest.raises(ValueError, match="broken"), track({}, runs_dir=tmp_path) as run:
        run.log(loss=1.0)
        raise ValueError("broken")
    verdict = judge(RunDirectory(run.folder))
    assert (verdict.status, verdict.reason) == ("failed", "ValueError: broken")
    (error,) = bodies(run, ErrorRaised)
    assert "test_tracking.py" in str(error.traceback)


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "stopped"), (SystemExit(0), "completed"), (SystemExit(3), "failed")]
)
def test_how_the_block_is_left_is_the_end_of_the_run(tmp_path, error, status):
    with pytest.raises(type(error)), track({}, runs_dir=tmp_path) as run:
        raise error
    assert judge(RunDirectory(run.folder)).status == status


def test_a_stop_request_is_seen_by_the_loop_which_then_ends_as_stopped(tmp_path):
    with track({}, runs_dir=tmp_path) as run:
        assert not run.stop_requested and run.folder is not None
        directory = RunDirectory(run.folder)
        control.request_stop(directory, Cause.PRUNED, "the worst of five")
        until = time.monotonic() + 60
        while not run.stop_requested and time.monotonic() < until:
            time.sleep(0.05)
        assert judge(directory).status == "stopping"
        with pytest.raises(RunError, match="does not kill"):
            control.kill(directory)
    verdict = judge(directory)
    assert (verdict.status, verdict.reason, verdict.cause) == ("stopped", "the worst of five", Cause.PRUNED)
    with pytest.raises(RunError, match="which rbp cannot start"):
        start.resume(directory)
    with pytest.raises(RunError, match="its settings are no preset"):
        LaunchRequest.like(directory)


@pytest.mark.parametrize(
    ("logged", "last", "best"),
    [
        ([{"test_top1": 0.7}, {"test_top1": 0.6}], 0.6, 0.7),
        ([{"val_top1": 0.7, "test_top1": 0.5}, {"val_top1": 0.6, "test_top1": 0.4}], 0.4, 0.5),
        ([{"val_top1": 0.7}, {"val_top1": 0.6}], None, None),
    ],
    ids=["test data", "the best by held-out data", "held-out data alone"],
)
def test_a_report_has_the_accuracies_on_test_data(tmp_path, logged, last, best):
    with track({}, runs_dir=tmp_path) as run:
        for epoch, numbers in enumerate(logged):
            run.log(numbers, epoch=epoch + 1)
    for _ in ("as it was written", "made anew from the events"):
        counting, excluded = collect([RunDirectory(run.folder)])
        assert [(one.last, one.best) for one in counting] == ([] if last is None else [(last, best)])
        why = "completed, without an accuracy on the test set: log it as test_acc"
        assert [one.reason for one in excluded] == [why] * (last is None)
        (run.folder / "summary.json").unlink(missing_ok=True)


@pytest.mark.parametrize("planned", [{"epochs": 2, "steps_per_epoch": 2}, {"epochs": 3, "steps": 100}, {"steps": 100}])
def test_the_summary_of_another_program_s_run_is_what_its_events_come_to(tmp_path, planned):
    with track({"batch": 2}, runs_dir=tmp_path, **planned) as run:
        for epoch in range(2):
            run.log(loss=1.0, epoch=epoch)
            run.log(loss=0.5, top1=0.5, step=2 * epoch + 2)
            run.log({"val_top1": 0.7 - epoch / 10, "test_top1": 0.5 + epoch / 10, "own": 1}, epoch=epoch + 1)
    written, made = (summary(RunDirectory(run.folder)) for summary in (load_summary, fold))
    for moment in ("progressed", "updated"):
        assert vars(written).pop(moment) == pytest.approx(vars(made).pop(moment), abs=10)
    assert vars(written) == vars(made)


def test_a_process_that_was_forked_neither_logs_nor_ends_the_run(tmp_path):
    with track({}, runs_dir=tmp_path) as run:
        run.log(loss=1.0)
        child = os.fork()
        if not child:
            try:
                run.log(loss=2.0)
                with track({}, runs_dir=tmp_path / "of-the-child") as own:
                    own.log(loss=3.0)
            finally:
                os._exit(0 if own.id else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        run.log(loss=4.0)
    assert [one.loss for one in bodies(run, Metrics)] == [1.0, 4.0]


def test_two_runs_in_each_other_are_two_runs_and_the_handler_of_signals_is_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with track({"n": 1}, runs_dir=tmp_path) as outer, track({"n": 2}, runs_dir=tmp_path) as inner:
        outer.log(loss=1.0)
        inner.log(loss=2.0)
    assert [bodies(run, Metrics)[0].loss for run in (outer, inner)] == [1.0, 2.0]
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(RunError, match="exists already"), track({}, run_id=outer.id, runs_dir=tmp_path):
        pytest.fail("it has begun")


def test_without_a_place_to_write_and_with_one_that_vanishes_the_loop_runs_all_the_same(tmp_path, caplog):
    (tmp_path / "runs").write_text("a file, where a folder should be")
    with track({}, runs_dir=tmp_path / "runs") as run:
        run.log(loss=1.0)
        assert not run.stop_requested
    assert (run.id, run.folder) == ("", None)
    assert caplog.text.count("this run is not recorded") == 1
    with track({}, runs_dir=tmp_path / "others") as run:
        run.folder.rename(tmp_path / "elsewhere")
        run.log(loss=1.0)
    assert "cannot be written" in caplog.text


def test_a_loop_that_is_faster_than_what_writes_waits_for_it_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 50)
    with track({}, runs_dir=tmp_path) as run:
        for step in range(300):
            run.log({"a": step, "b": step}, loss=1.0)
    assert len(bodies(run, Metrics)) == 300 and len(bodies(run, Probe)) == 600
    assert load_summary(RunDirectory(run.folder)).reason == ""


@pytest.mark.parametrize("heals", [True, False])
def test_what_a_full_disk_costs_is_counted_in_the_run_s_alert_and_reason(tmp_path, monkeypatch, heals):
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    monkeypatch.setattr(module, "DRAIN_S", 0.01)
    with contextlib.ExitStack() as disk, track({}, runs_dir=tmp_path) as run:
        disk.enter_context(files_of_at_most(10_000))
        for _ in range(200):
            run.log(loss=1.0)
        if heals:
            disk.close()
    directory = RunDirectory(run.folder)
    kept, summary = len(bodies(run, Metrics)), load_summary(directory)
    (lost,) = re.findall(r"(\d+) numbers are lost: (?:No space|File too)", summary.alert)
    assert kept + int(lost) == 200 and kept
    assert (summary.status, judge(directory).reason) == ("completed", summary.alert)
    assert not heals or fold(directory).alert == summary.alert


def test_a_disk_that_does_not_answer_holds_up_no_loop_and_its_losses_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    monkeypatch.setattr(module, "STALL_S", 0.05)
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(read, "rb") as pipe, ThreadPoolExecutor() as threads, track({}, runs_dir=tmp_path) as run:
        os.dup2(write, run._writer.events._file)  # a file that takes 4096 bytes, and then waits
        os.close(write)
        for _ in range(200):
            run.log(loss=1.0)
        written = threads.submit(pipe.readlines)
    summary = load_summary(RunDirectory(run.folder))
    (lost,) = re.findall(r"(\d+) numbers are lost: its disk has not answered", summary.reason)
    assert sum(b'"metrics"' in line for line in written.result()) + int(lost) == 200 and summary.status == "completed"


@pytest.mark.parametrize(
    "variables", [{"RANK": "1", "WORLD_SIZE": "2"}, {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}]
)
def test_of_several_processes_only_the_first_records(tmp_path, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with track({}, runs_dir=tmp_path / "runs") as run:
        run.log(loss=1.0)
    assert not run.id and not (tmp_path / "runs").exists()


def test_the_commit_is_that_of_the_program_and_not_of_the_working_directory(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(run_json, "git_state", lambda folder: (asked.append(folder), (None, ""))[1])
    (tmp_path / "link.py").symlink_to(tmp_path / "mine" / "loop.py")
    for file in (tmp_path / "link.py", f"{sys.prefix}/bin/an-installed-command"):
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(file), raising=False)
        with track({}, runs_dir=tmp_path):
            pass
    assert asked == [tmp_path / "mine", Path()]


def test_a_run_of_another_program_with_the_settings_of_a_preset_is_not_its_experiment(tmp_path):
    with track(load_preset("digits", ["T=2"]).preset.model_dump(), runs_dir=tmp_path) as run:
        run.log(loss=1.0, test_top1=0.9)
    runs = [record.run for record in list_runs(tmp_path)]
    assert read_settings(runs[0]).get("method.timesteps") == 2
    assert load_summary(runs[0]).experiment != LaunchRequest("digits", ("T=2",)).load().experiment
    with pytest.raises(RunError, match="was trained by another program"):
        LaunchRequest.like(runs[0])


@pytest.mark.parametrize(("tags", "kept"), [("paper", ["paper"]), ([1, "a\nb"], ["1", "a b"]), ((), [])])
def test_tags_are_words_whatever_is_given_for_them(tmp_path, tags, kept):
    with track(tags=tags, runs_dir=tmp_path) as run:
        pass
    assert load_summary(RunDirectory(run.folder)).tags == kept
