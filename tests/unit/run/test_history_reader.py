"""The events of all ranks of a run are folded as they are written."""

from pathlib import Path

from rbp_engine.run.files.events import Heartbeat, Metrics, RunStart, System, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.history_reader import HistoryReader, read_history
from rbp_engine.run.writer import EventWriter

METRICS = Metrics(epoch=0, loss=0.5, top1=0.5, lr=0.1)


def write(run: RunDirectory, attempt: int, rank: int, *bodies: object) -> None:
    writer = EventWriter(run.events(rank), attempt, rank)
    for step, body in enumerate(bodies, start=1):
        writer.write(body, step)  # type: ignore[arg-type]
    writer.close()


def test_only_what_is_new_is_read_and_ranks_are_found_as_they_come(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    reader = HistoryReader(run)
    assert not reader.poll() and reader.history().attempt is None
    write(run, 1, 0, RunStart(world_size=2), METRICS)
    assert reader.poll() and not reader.poll()
    write(run, 1, 1, RunStart(world_size=2), System(rss=5))
    assert reader.poll()
    history = reader.history()
    assert [process.rank for process in history.processes] == [0, 1]
    assert history.curves["memory/1"].value.tolist() == [5.0]
    assert read_history(run).curves.keys() == {"train/loss", "train/top1", "lr"}


def test_an_attempt_that_one_rank_has_reached_waits_for_the_others(tmp_path: Path) -> None:
    """Rank 0 is read to its second attempt while rank 1 has much of the first left."""
    run = RunDirectory(tmp_path)
    write(run, 1, 0, RunStart(world_size=2), METRICS)
    write(run, 2, 0, RunStart(world_size=2))
    write(run, 1, 1, RunStart(world_size=2), *[Heartbeat()] * 3000, System(rss=5))
    reader = HistoryReader(run)
    reader.poll(turn_s=-1.0)
    assert reader.behind and [attempt.number for attempt in reader.history().attempts] == [1]
    reader.poll()
    history = reader.history()
    assert [attempt.number for attempt in history.attempts] == [1, 2]
    assert "memory/1" not in history.curves, "the second attempt starts again from step 1"


def test_of_some_kinds_only_these_are_parsed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write(run, 1, 0, RunStart(), METRICS, Validation(1, 0.5, 0.9, 1.0, 10))
    reader = HistoryReader(run, first_rank=True, kinds=(Validation, RunStart))
    assert reader.poll() and reader.history().curves.keys() == {"validation/loss", "validation/top1"}
    assert reader.skipped_lines == 0


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write(run, 1, 0, RunStart(), METRICS)
    loop = run.events(1)
    loop.symlink_to(loop)
    reader = HistoryReader(run)
    assert reader.poll() and [type(error) for error in reader.errors] == [OSError]
    assert "train/loss" in reader.history().curves
