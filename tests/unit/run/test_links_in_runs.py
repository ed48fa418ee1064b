"""Links in place of what a run writes: a foreign run with one is refused, and nothing is ever done through them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run import control, start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt
from rbp_engine.run.files.layout import RunDirectory, refuse_links, write_json
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.launch import launch, multinode
from rbp_engine.run.status.status import judge
from rbp_engine.run.writer import EventWriter
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.tensorboard import TensorBoardLog
from tests.run_files import contents
from tests.stopping import stop

Acts = tuple[Callable[[RunDirectory], object], ...]
TO_FILES = ("events/rank0.jsonl", "ranks/0/stdout.log", "control/attempt-2", "control/stop", "control/kill")
TO_FOLDERS = ("checkpoints", "checkpoints/best", "tensorboard", "control", "events", "ranks", "ranks/0")
RESUME: Acts = (start.resume, launch.start)
STOP: Acts = (control.request_stop, lambda run: stop(run, patience_s=0.0))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path):
    """A folder outside the run with what looks like leftovers of a save, a request, and a file with half a line."""
    folder = tmp_path / "elsewhere"
    for name in ("step-00000001", "step-00000002.tmp", "best"):
        (folder / name).mkdir(parents=True)
    for name in ("thesis.txt", "checkpoint", "stop", "rank0.jsonl", "reserve"):
        (folder / name).write_text("first line\nsecond li")
    return folder


def link(run: RunDirectory, name: str, target: Path) -> None:
    path = run.path / name
    if path.is_dir():
        path.rename(run.path.parent / "put-aside")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("acts", "name"), [*((RESUME, name) for name in TO_FILES + TO_FOLDERS), (STOP, TO_FILES[0]), (STOP, TO_FOLDERS[0])]
)
def test_nothing_is_written_or_deleted_where_a_run_has_a_link(make_run, elsewhere, tmp_path, ended_pid, name, acts):
    run = make_run("job", status="failed", attempt={"pid": ended_pid}) if acts is RESUME else make_run("job")
    link(run, name, elsewhere if name in TO_FOLDERS else elsewhere / "thesis.txt")
    before = contents(tmp_path)
    for act in acts:
        with pytest.raises(RunError, match=f"job: {name} is a link, which no run makes: remove it first"):
            act(run)
        assert contents(tmp_path) == before


def test_neither_stop_nor_kill_creates_a_file_through_a_dangling_link(make_run, elsewhere, ended_pid):
    run = make_run("job", status="running", attempt={"host": "another.example", "boot": "another"})
    link(run, "control/stop", elsewhere / "new")
    with pytest.raises(RunError, match="control/stop is a link"):
        control.request_stop(run)
    alone = make_run("alone", attempt={"pid": ended_pid})
    link(alone, "control/kill", elsewhere / "new")
    assert control.kill(alone).status == "killed" == judge(alone).status
    assert not (elsewhere / "new").exists()


def test_a_named_pipe_is_refused_like_a_link(make_run):
    """Opening it would block for ever."""
    run = make_run("job")
    os.mkfifo(run.stdout())
    with pytest.raises(RunError, match=r"ranks/0/stdout\.log is neither a file nor a folder"):
        control.request_stop(run)


def test_links_to_a_run_and_in_places_where_it_does_not_write_are_allowed(make_run, elsewhere, tmp_path):
    run = make_run("job")
    link(run, "notes", elsewhere)
    (tmp_path / "runs" / "by-a-link").symlink_to(run.path)
    refuse_links(RunDirectory(tmp_path / "runs" / "by-a-link"))


WRITERS: dict[str, tuple[str, Callable[[RunDirectory], object]]] = {
    "events": ("events", lambda run: EventWriter(run.events(), 1)),
    "claim": ("attempts", lambda run: claim_attempt(run, AttemptRecord(2))),
    "old requests": ("control", lambda run: launch._announce(run, 1)),
    "seat": ("control", lambda run: multinode.take_seat(run, 1, 2)),
    "JSON": ("attempts", lambda run: write_json(run.attempt(1), {}, below=run.path)),
    "log": ("ranks", lambda run: launch._appending(run, run.stdout())),
    "TensorBoard": ("tensorboard", lambda run: TensorBoardLog(run.tensorboard, 1)),
    # A newer attempt may be claimed there.
    "journal": ("attempts", lambda run: Journal(run, load_summary(run), 1).end("stopped", "")),
    "leftovers": ("checkpoints", lambda run: checkpoint.remove_leftovers(run.checkpoints)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_or_deleted_through_a_link_in_the_place_of_a_folder(make_run, elsewhere, name):
    run = make_run("job", status="failed")
    folder, write = WRITERS[name]
    link(run, folder, elsewhere)
    before = contents(elsewhere)
    with pytest.raises(
        (OSError, RunError), match=r"a link or a special file, which no run makes: remove it first.*/job/"
    ):
        write(run)
    assert contents(elsewhere) == before


@pytest.mark.parametrize(
    "write",
    [lambda run: EventWriter(run.events(), 1), lambda run: inside.touch(run.events(), run.path)],
    ids=["events", "touch"],
)
def test_a_link_or_a_named_pipe_in_the_place_of_a_file_is_refused_at_once(make_run, elsewhere, write):
    run = make_run("job")
    run.events().symlink_to(elsewhere / "thesis.txt")
    with pytest.raises(OSError, match="a link or a special file"):
        write(run)
    run.events().unlink()
    os.mkfifo(run.events())
    with pytest.raises(OSError, match="a link or a special file"):
        write(run)
    assert (elsewhere / "thesis.txt").read_text() == "first line\nsecond li"


def test_a_file_that_is_a_link_is_replaced_a_leftover_is_removed_and_their_targets_stay(make_run, elsewhere):
    run = make_run("job", attempt={})
    run.attempt(1).symlink_to(elsewhere / "thesis.txt")
    write_json(run.attempt(1), {"pid": 1}, below=run.path)
    assert not run.attempt(1).is_symlink()
    assert (elsewhere / "thesis.txt").read_text() == "first line\nsecond li"
    (run.checkpoints / "step-00000003.tmp").symlink_to(elsewhere)
    before = contents(elsewhere)
    checkpoint.remove_leftovers(run.checkpoints)
    assert list(run.checkpoints.iterdir()) == []
    assert contents(elsewhere) == before


def test_nothing_is_made_outside_of_the_folder_nor_a_folder_that_was_removed(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(OSError, match="a link or a special file"):
        inside.touch(tmp_path / "run" / ".." / "outside", tmp_path / "run")
    assert not (tmp_path / "outside").exists()
    with pytest.raises(FileNotFoundError):
        EventWriter(RunDirectory(tmp_path / "removed").events(), 1)
    assert not (tmp_path / "removed").exists()


def test_a_run_is_written_through_the_user_s_own_link_to_it(make_run, tmp_path):
    run = make_run("job")
    link = tmp_path / "by-a-link"
    link.symlink_to(run.path)
    EventWriter(RunDirectory(link).events(), 1).close()
    board = TensorBoardLog(RunDirectory(link).tensorboard, 1)
    board.scalars(1, {"loss": 1.0})
    board.close()
    assert run.events().is_file()
    assert len(list(run.tensorboard.iterdir())) == 1
