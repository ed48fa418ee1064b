"""Files of other programs become runs: every number as it was written, and whatever else they hold is refused."""

import csv
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from rbp_engine.report.compare import compare
from rbp_engine.report.events_csv import events_csv
from rbp_engine.run import importing
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import Metrics, Validation, WarningRaised
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import fold, load_summary
from rbp_engine.run.history.history_reader import read_findings, read_history
from rbp_engine.run.importing import Imported
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.run_settings import read_settings
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.store.trash import list_trash
from rbp_tui.text.alarm_text import judged
from tests.run_files import events_of


def single(number: float) -> float:
    """The number in 24 bits: TensorBoard keeps no more."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


THIRDS = [single(1 / (3 + step)) for step in range(8)]


def write_events(
    folder: Path, steps: range = range(8), at: float = 1.7e9, **more: Callable[[SummaryWriter], None]
) -> Path:
    """TensorBoard's file of a loop with losses, an accuracy at every second step, and a metric of its own."""
    with SummaryWriter(str(folder), filename_suffix=f".{at:.0f}") as writer:
        for act in more.values():
            act(writer)
        for step in steps:
            writer.add_scalar("train/loss", THIRDS[step], step, walltime=at + step)
            writer.add_scalar("spikes", 1 - THIRDS[step], step, walltime=at + step)
            if step % 2:
                writer.add_scalar("Accuracy/test", THIRDS[step] / 2, step, walltime=at + step)
                writer.add_scalar("test_loss", THIRDS[step] * 2, step, walltime=at + step)
    return folder


def import_runs(path: Path, runs: Path, **how: Any) -> list[Any]:
    return importing.import_runs([path], runs, **how)


def only(found: list[Imported]) -> Imported:
    (one,) = found
    return one


def rows_of(one: Imported, *columns: str) -> list[tuple[str, ...]]:
    """The lines of the run's CSV that have numbers in all of these columns."""
    rows = [tuple(row[name] for name in columns) for row in csv.DictReader(events_csv(one.run).splitlines())]
    return [row for row in rows if all(row)]


def test_curves_of_tensorboard_are_those_of_the_run_to_the_last_digit(tmp_path):
    one = only(import_runs(write_events(tmp_path / "resnet"), tmp_path / "runs", tags=["theirs"]))
    assert one.new and one.curves == 4 and one.notes == ("it says no epochs: its evaluations are counted as such",)
    metrics = events_of(one.run, Metrics)
    logged = [(1.7e9 + step, step, third) for step, third in enumerate(THIRDS)]
    assert [(event.t, event.step, event.body.loss) for event in metrics] == logged
    tests = events_of(one.run, Validation)
    assert [(event.step, event.body.split, event.body.top1, event.body.loss) for event in tests] == [
        (step, "test", single(THIRDS[step] / 2), THIRDS[step] * 2) for step in (1, 3, 5, 7)
    ]
    assert [float(value) for (value,) in rows_of(one, "own.spikes")] == [single(1 - third) for third in THIRDS]
    summary = load_summary(one.run)
    assert (summary.name, summary.tags, summary.program, summary.status) == (
        "resnet", ["theirs"], "TensorBoard", "completed"
    )  # fmt: skip
    assert (summary.created, summary.step, summary.epochs) == (1.7e9, 7, 4)
    assert summary.best.top1 == tests[0].body.top1
    assert judge(one.run).status == "completed"
    described = read_run_json(one.run)
    assert (described.host, described.python, described.packages, described.git) == ("", "", {}, None)
    assert [record.run.id for record in list_runs(tmp_path / "runs")] == [one.run.id]


def test_a_curve_of_epochs_says_the_epochs_of_its_steps(tmp_path):
    def write(writer: SummaryWriter) -> None:
        for step in range(8):
            writer.add_scalar("epoch", step // 2 * 2, step)

    one = only(import_runs(write_events(tmp_path / "lightning", range(8), epochs=write), tmp_path / "runs"))
    assert one.curves == 4 and one.notes == ("its epochs count from 0: here the first is epoch 1",)
    found = [(event.step, event.body.epoch) for event in events_of(one.run, Validation)]
    assert found == [(1, 1), (3, 3), (5, 5), (7, 7)] and load_summary(one.run).epochs == 7

    def at_begin(writer: SummaryWriter) -> None:
        for step in (0, 4):
            writer.add_scalar("epoch", 1 + step // 4, step)

    one = only(import_runs(write_events(tmp_path / "begin", range(8), epochs=at_begin), tmp_path / "runs"))
    assert one.notes == () and [event.body.epoch for event in events_of(one.run, Validation)] == [1, 1, 2, 2]

    def at_end(writer: SummaryWriter) -> None:
        for step in (3, 7):
            writer.add_scalar("epoch", step // 4, step)

    one = only(import_runs(write_events(tmp_path / "end", range(8), epochs=at_end), tmp_path / "runs"))
    assert [event.body.epoch for event in events_of(one.run, Validation)] == [1, 1, 2, 2]

    def halves(writer: SummaryWriter) -> None:
        writer.add_scalar("epoch", 0.5, 1)

    one = only(import_runs(write_events(tmp_path / "halves", range(8), epochs=halves), tmp_path / "runs"))
    assert one.curves == 5 and "it says no epochs" in one.notes[0], "a metric of its own"


def test_what_a_resumed_run_has_trained_again_counts_once(tmp_path):
    write_events(tmp_path / "logs", range(6))
    write_events(tmp_path / "logs", range(4, 8), at=1.7e9 + 1000)
    one = only(import_runs(tmp_path / "logs", tmp_path / "runs"))
    found = {event.step: event.t for event in events_of(one.run, Metrics)}
    assert found == {step: 1.7e9 + step + 1000 * (step >= 4) for step in range(8)}
    # How long it trained is not known: between its first and last number are a pause and all evaluations.
    assert load_summary(one.run).trained_s == 0.0 and compare([one.run]).groups[0].epoch_s is None


def test_what_is_not_kept_of_a_table_is_counted_with_the_first_place(tmp_path):
    rows = ["step,loss,acc,", '3,3,"1,000",7', "1,1_5,0.5,", "2,2,,8", "1,1,0.5,"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    one = only(import_runs(tmp_path / "a.csv", tmp_path / "runs"))
    assert rows_of(one, "step", "loss") == [("1", "1.0"), ("2", "2.0"), ("3", "3.0")]
    left_out = {
        "left out: 1 cells of acc that are no numbers, the first: 1,000 in row 2",
        "left out: 1 cells of loss that are no numbers, the first: 1_5 in row 3",
        "left out: 2 cells of a column without a name, the first: 7 in row 2",
    }
    assert left_out == {*one.notes} == {event.body.message for event in events_of(one.run, WarningRaised)}


def test_steps_that_go_back_in_one_file_lose_nothing_and_impossible_ones_are_counted(tmp_path):
    with SummaryWriter(str(tmp_path / "log")) as writer:
        for step in (*range(1, 51), 0, -1, 30, 30):
            writer.add_scalar("loss", 1 / (step + 3), step, walltime=1.7e9)
        writer.add_scalar("loss", 9.0, 40, walltime=1.7e9)
    one = only(import_runs(tmp_path / "log", tmp_path / "runs"))
    found = {event.step: event.body.loss for event in events_of(one.run, Metrics)}
    assert found == {step: 9.0 if step == 40 else single(1 / (step + 3)) for step in range(51)}
    assert one.notes == (
        "left out: 1 numbers of impossible steps or times, the first: loss at step -1",
        "left out: 1 numbers that were logged again later, the first: loss at step 40",
    )


def test_a_writer_with_a_purge_step_takes_back_all_curves_from_there_on(tmp_path):
    for purge, steps in ((None, range(8)), (5, range(6, 8))):
        with SummaryWriter(str(tmp_path / "log"), purge_step=purge, filename_suffix=f".{purge}") as writer:
            for step in steps:
                writer.add_scalar("loss", step + (purge or 0), step, walltime=1.7e9)
                writer.add_scalar("spikes" if purge is None else "rate", 0.5, step, walltime=1.7e9)
    one = only(import_runs(tmp_path / "log", tmp_path / "runs"))
    assert {event.step: event.body.loss for event in events_of(one.run, Metrics)} == {
        **{step: step for step in range(5)}, 6: 11, 7: 12
    }  # fmt: skip
    assert len(rows_of(one, "own.spikes")) == 5 and len(rows_of(one, "own.rate")) == 2
    assert one.notes == ("left out: 6 numbers that were logged again later, the first: loss at step 5",)


def test_records_and_values_without_numbers_count_towards_the_limit(tmp_path, monkeypatch):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    monkeypatch.setattr(importing, "MOST_NUMBERS", 10)
    for name, values in (("values", 11), ("records", 0)):
        event = Event(step=1, wall_time=1.7e9)
        for _ in range(values):
            event.summary.value.add()
        with (tmp_path / f"{name}.tfevents").open("wb") as file:
            for _ in range(1 if values else 11):
                RecordWriter(file).write(event.SerializeToString())
        with pytest.raises(RunError, match="or 10 numbers"):
            import_runs(tmp_path / f"{name}.tfevents", tmp_path / "runs")


def test_all_weights_of_a_table_of_rbp_are_kept(tmp_path):
    head = "run,kind,attempt,step,epoch,split,weights,loss,top1"
    rows = ["a,metrics,1,5,0,,,0.5,", "a,validation,2,5,1,test,last,0.4,0.7", "a,validation,2,5,1,test,best,0.3,0.8"]
    (tmp_path / "a.csv").write_text("\n".join([head, *rows]))
    one = only(import_runs(tmp_path / "a.csv", tmp_path / "runs"))
    assert one.notes == () and rows_of(one, "own.best/test/top1") == [("0.8",)]
    assert load_summary(one.run).last.top1 == 0.7


def test_hparams_and_texts_are_settings_and_runs_that_differ_in_the_seed_are_one_experiment(tmp_path):
    for seed in (1, 2):
        given = {"lr": 0.1, "batch": 64, "bn": True, "note": "deep"} | ({"seed": seed} if seed == 1 else {})
        texts = {"args": "--resume"} | ({"seed": str(seed)} if seed == 2 else {})
        write_events(
            tmp_path / f"logs/seed{seed}",
            hparams=lambda writer, given=given: writer.add_hparams(given, {"best": 0.5}),
            text=lambda writer, texts=texts: [writer.add_text(*one) for one in texts.items()],
        )
    first, second = import_runs(tmp_path / "logs", tmp_path / "runs")
    settings = read_settings(first.run)
    assert (settings.get("optim.lr"), settings.get("data.batch_size")) == (0.1, 64)
    assert (settings.get("settings.bn"), settings.get("settings.args")) == (True, "--resume")
    one, other = load_summary(first.run), load_summary(second.run)
    assert (one.seed, other.seed) == (1, 2) and one.experiment == other.experiment
    assert len([record for record in list_runs(tmp_path / "runs") if parse_query("lr=0.1")(record)]) == 2


def test_the_same_content_is_one_run_wherever_it_lies_and_a_log_that_has_grown_another(tmp_path):
    write_events(tmp_path / "logs")
    one = only(import_runs(tmp_path / "logs", tmp_path / "runs"))
    shutil.copytree(tmp_path / "logs", tmp_path / "copy")
    again = only(import_runs(tmp_path / "copy", tmp_path / "runs"))
    assert (again.run, again.new) == (one.run, False)
    (log,) = (tmp_path / "copy").iterdir()
    log.write_bytes(log.read_bytes() + next(write_events(tmp_path / "more", range(1)).iterdir()).read_bytes())
    assert only(import_runs(tmp_path / "copy", tmp_path / "runs")).new
    assert len(list_runs(tmp_path / "runs")) == 2


@pytest.mark.parametrize("damage", ["cut off", "damaged"])
def test_of_a_damaged_file_what_is_whole_before_is_taken_and_said(tmp_path, damage):
    write_events(tmp_path / "logs")
    (file,) = (tmp_path / "logs").iterdir()
    whole = file.read_bytes()
    for number, at in enumerate(range(40, len(whole), 61)):
        broken = bytearray(whole)
        broken[at] ^= 1
        file.write_bytes(whole[:at] if damage == "cut off" else bytes(broken))
        runs = tmp_path / f"runs{number}"
        try:
            one = only(import_runs(file, runs))
        except RunError as error:
            assert "holds no numbers" in str(error) and not runs.exists()
            continue
        losses = [event.body.loss for event in events_of(one.run, Metrics)]
        assert losses == THIRDS[: len(losses)]
        if one.notes:
            assert damage in one.notes[0] and judge(one.run).status == "stopped"
            assert events_of(one.run, WarningRaised)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("events.tfevents", b"", "it holds no numbers"),
        ("events.tfevents", b"\xff" * 5000, "is damaged at byte 0"),
        ("events.tfevents", struct.pack("<Q", 2**63) + bytes(4), "is damaged at byte 0"),
        ("table.csv", b"", "it holds no numbers"),
        ("table.csv", b"a,b\n\xff\xfe\n", "it is no table of CSV"),
        (
            "table.csv",
            b"a,b\nx,y\n",
            "it holds no numbers; left out: 1 cells of a that are no numbers, the first: x in row 2",
        ),
        ("table.csv", b"a\n" + b"1" * 2**21, "a line of more than 1048576 characters"),
        ("table.csv", b",".join(b"c%d" % n for n in range(600)) + b"\n" + b"1," * 599 + b"1", "more than 500 curves"),
        ("table.csv", b",".join(b"%x" % n for n in range(100_000)), "it has 100,000 columns, more than 1000"),
        ("table.csv", b"step,loss\n100,2\n,0.9\n500,0.8\n", "row 3, column step: empty, not a whole number from 0"),
        ("table.csv", b'step,loss\n"1,000",2\n', "row 2, column step: 1,000, not a whole"),
        ("table.csv", b"loss,global_step\n2,0\n\n1,0.5\n", "row 4, column global_step: 0.5, not a whole"),
        ("table.csv", b"step,loss\n-1,2\n", "row 2, column step: -1, not a whole"),
        ("table.csv", b"epoch,loss\n1,3\n,2.5\n", "row 3, column epoch: empty, not a whole"),
        ("table.csv", b"step,loss\n1,1\n2,2\n1,10\n", "row 4, column loss: a row above has another number at 1"),
        ("table.csv", b"step,loss, loss\n1,5,6\n", "row 1: 2 columns are called loss"),
        ("table.csv", b"step;loss\n1;0,5\n", "row 2 has 2 cells, and its head 1"),
    ],
)
def test_what_holds_no_numbers_is_refused_with_a_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=message) as refused:
        import_runs(tmp_path / name, tmp_path / "runs")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_too_large_a_folder_without_events_and_a_missing_one_are_refused(tmp_path, monkeypatch):
    write_events(tmp_path / "logs")
    monkeypatch.setattr(importing, "LARGEST_FILE", 100)
    with pytest.raises(RunError, match=r"cannot import .*: larger than"):
        import_runs(tmp_path / "logs", tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="there are no files of TensorBoard in it"):
        import_runs(tmp_path / "empty", tmp_path / "runs")
    with pytest.raises(RunError, match="No such file"):
        import_runs(tmp_path / "missing.csv", tmp_path / "runs")
    monkeypatch.setattr(importing, "LARGEST_FILE", 2**30)
    monkeypatch.setattr(importing, "MOST_NUMBERS", 10)
    with pytest.raises(RunError, match="or 10 numbers"):
        import_runs(tmp_path / "logs", tmp_path / "runs")


def test_a_folder_that_cannot_be_looked_into_is_refused(tmp_path, nest, without_privileges):
    write_events(tmp_path / "logs" / "a")
    (tmp_path / "logs" / "b").mkdir(mode=0)
    with pytest.raises(RunError, match=r"cannot import .*/logs: .*/logs/b cannot be read \(Permission denied\)"):
        import_runs(tmp_path / "logs", tmp_path / "runs")
    (tmp_path / "logs" / "b").chmod(0o755)
    nest(tmp_path / "logs" / "b")
    with pytest.raises(RunError, match=r"cannot import .*/logs: .*/logs/b has folders more than 64 deep in each other"):
        import_runs(tmp_path / "logs", tmp_path / "runs")


def test_what_cannot_be_imported_does_not_keep_the_rest_from_it(tmp_path):
    write_events(tmp_path / "logs" / "a")
    write_events(tmp_path / "logs" / "b-crashed", steps=range(0))
    write_events(tmp_path / "logs" / "c", at=1.8e9)
    write_events(tmp_path / "more", at=1.9e9)
    paths = [tmp_path / "logs", tmp_path / "missing.csv", tmp_path / "more"]
    found = importing.import_runs(paths, tmp_path / "runs")
    assert [getattr(one, "name", None) for one in found] == ["a", None, "c", None, "more"]
    assert "it holds no numbers" in str(found[1]) and "No such file" in str(found[3])
    assert len(list_runs(tmp_path / "runs")) == 3


def test_records_that_hold_no_numbers_are_passed_over(tmp_path):
    import numpy as np

    def more(writer: SummaryWriter) -> None:
        writer.add_histogram("weights", np.arange(100.0), 0)
        writer.add_image("noise", np.random.default_rng(1).integers(0, 255, (3, 900, 900), dtype=np.uint8), 0)
        writer.add_scalar("new", 0.5, 0, new_style=True)
        writer.add_scalar("train/loss", math.nan, 100)

    one = only(import_runs(write_events(tmp_path / "logs", more=more), tmp_path / "runs"))
    assert one.curves == 5 and [value for (value,) in rows_of(one, "own.new")] == ["0.5"]


def test_a_table_of_epochs_is_a_run_and_comes_back_as_it_was(tmp_path):
    table = [("epoch", "train_loss", "val_loss", "val_acc", "grad norm")]
    table += [(str(n), repr(1 / n), repr(2 / n), repr(0.9 - 0.1 / n), repr(n / 7)) for n in range(1, 6)]
    (tmp_path / "metrics.v2.csv").write_text("\n".join(map(",".join, table)))
    one = only(import_runs(tmp_path / "metrics.v2.csv", tmp_path / "runs"))
    written, made = load_summary(one.run), fold(one.run)
    assert (written.name, written.seed, written.last.top1) == ("metrics.v2", None, 0.9 - 0.1 / 5)
    for moment in ("progressed", "updated"):
        assert vars(written).pop(moment) == pytest.approx(vars(made).pop(moment), abs=10)
    assert vars(written) == vars(made)
    assert (made.host, made.steps) == ("", 5)
    assert rows_of(one, "epoch", "loss") == sorted(
        [(n, loss) for n, loss, *_ in table[1:]] + [(n, loss) for n, _, loss, *_ in table[1:]], key=lambda row: row[0]
    )
    assert rows_of(one, "epoch", "split", "top1") == [(n, "held-out", top1) for n, _, _, top1, _ in table[1:]]
    assert rows_of(one, "step", "own.grad norm") == [(n, norm) for n, *_, norm in table[1:]]
    curve = read_history(one.run).curves["validation/top1"]
    assert curve.epoch.tolist() == [1, 2, 3, 4, 5]
    (group,) = compare([one.run]).groups
    assert group.last is not None and group.epoch_s is None, "the table has no times"


def test_an_evaluation_before_training_is_of_epoch_0(tmp_path):
    (tmp_path / "a.csv").write_text("epoch,train_loss,test_acc\n0,,0.1\n1,0.5,0.4\n2,0.4,0.5\n")
    one = only(import_runs(tmp_path / "a.csv", tmp_path / "runs"))
    assert one.notes == () and [event.body.epoch for event in events_of(one.run, Validation)] == [0, 1, 2]


def test_of_epochs_from_0_those_of_evaluations_may_be_complete_ones(tmp_path):
    lines = ["step,epoch,loss,test_acc", *(f"{2 * step},{step // 2},0.5," for step in range(6))]
    for name, first in (("complete", 1), ("begun", 0)):
        tests = [f"{4 * n + 3},{n + first},,0.5" for n in range(3)]
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines, *tests]))
        one = only(import_runs(tmp_path / f"{name}.csv", tmp_path / "runs"))
        assert [event.body.epoch for event in events_of(one.run, Validation)] == [1, 2, 3]
        assert bool(one.notes) == (first == 0)


def test_the_table_of_a_run_becomes_the_same_curves(tmp_path):
    first = only(import_runs(write_events(tmp_path / "logs"), tmp_path / "runs"))
    (tmp_path / "first.csv").write_text(events_csv(first.run))
    second = only(import_runs(tmp_path / "first.csv", tmp_path / "there"))
    for column in ("loss", "top1", "own.spikes"):
        assert rows_of(first, "step", "t", column) == rows_of(second, "step", "t", column)


def test_accuracies_in_per_cent_are_metrics_of_its_own_unless_they_are_said_to_be_and_then_all_are_scaled(tmp_path):
    (tmp_path / "a.csv").write_text("epoch,test_acc,train_loss\n1,0.5,2\n2,93.5,1\n")
    one = only(import_runs(tmp_path / "a.csv", tmp_path / "runs"))
    assert "test_acc goes up to 93.5" in one.notes[0] and load_summary(one.run).best.top1 is None
    assert rows_of(one, "own.test_acc") == [("0.5",), ("93.5",)]
    other = only(import_runs(tmp_path / "a.csv", tmp_path / "other", percent=True))
    assert load_summary(other.run).best.top1 == 0.935 and other.notes == ()
    (tmp_path / "a.csv").write_text("step,test_acc\n1,0.5\n2,0.8\n")
    one = only(import_runs(tmp_path / "a.csv", tmp_path / "poor", percent=True))
    assert load_summary(one.run).last.top1 == pytest.approx(0.008)


def test_an_import_that_is_asked_for_differently_replaces_the_one_before(tmp_path):
    (tmp_path / "a.csv").write_text("epoch,test_acc\n1,80.5\n2,93.5\n")
    file, runs = tmp_path / "a.csv", tmp_path / "runs"
    first = only(import_runs(file, runs))
    for number, how in enumerate(({"percent": True}, {"name": "theirs", "percent": True}, {"tags": ["x"]}), start=1):
        one = only(import_runs(file, runs, **how))
        assert one.new and one.run == first.run and "in the trash" in one.notes[-1]
        assert load_summary(one.run).best.top1 == (0.935 if "percent" in how else None)
        assert len(list_trash(runs)) == number
        for again in (how, {}):
            assert not only(import_runs(file, runs, **again)).new
    assert len(list_runs(runs)) == 1 and load_summary(first.run).tags == ["x"]


def test_a_rule_gives_no_advice_in_settings_of_rbp_to_the_run_of_another_program(tmp_path):
    rows = [f"{epoch},{0.1 * epoch}" for epoch in range(1, 6)]
    (tmp_path / "a.csv").write_text("\n".join(["epoch,test_acc", *rows]))
    one = only(import_runs(tmp_path / "a.csv", tmp_path / "runs"))
    (found,) = read_findings(one.run)
    assert judged(found) == ("advice", found.what) and "still learning" in found.what


def test_steps_keep_their_order_where_the_clock_was_set_back(tmp_path):
    with SummaryWriter(str(tmp_path / "log")) as writer:
        for step, t in ((1, 100.0), (5, 500.0), (9, 90.0)):
            writer.add_scalar("test_acc", step / 10, step, walltime=1.7e9 + t)
    one = only(import_runs(tmp_path / "log", tmp_path / "runs"))
    assert load_summary(one.run).last.top1 == pytest.approx(0.9)
    assert [step for (step,) in rows_of(one, "step")][-1] == "9"


def test_a_run_is_called_as_its_folder_whatever_dots_that_has_and_from_wherever_it_is_named(tmp_path, monkeypatch):
    for number, folder in enumerate(("lr0.1", "lr0.01")):
        write_events(tmp_path / "logs" / folder, at=1.7e9 + number)
    assert sorted(one.name for one in import_runs(tmp_path / "logs", tmp_path / "runs")) == ["lr0.01", "lr0.1"]
    monkeypatch.chdir(tmp_path / "logs" / "lr0.1")
    (file,) = Path().iterdir()
    for named in (Path(), Path("../lr0.1"), Path("..", "lr0.01", "..", "lr0.1", file)):
        assert only(import_runs(named, tmp_path / "runs")).name == "lr0.1"
