"""What a run writes stays in its folder, even if a link takes the place of a folder after the run was looked at."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt
from rbp_engine.run.files.layout import RunDirectory, write_json
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.launch import launch, multinode
from rbp_engine.run.writer import EventWriter
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.tensorboard import TensorBoardLog

MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside the run with what looks like leftovers of a save, a request, and a file with half a line."""
    folder = tmp_path / "elsewhere"
    for name in ("step-00000001", "step-00000002.tmp", "best"):
        (folder / name).mkdir(parents=True)
    for name in ("thesis.txt", "checkpoint", "stop", "rank0.jsonl", "reserve"):
        (folder / name).write_text("first line\nsecond li")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() if path.is_file() else "" for path in sorted(folder.rglob("*"))}


def replace_by_link(path: Path, target: Path) -> None:
    if os.path.lexists(path):
        path.rename(path.with_name("put-aside"))
    path.symlink_to(target)


WRITERS: dict[str, tuple[str, Callable[[RunDirectory], object]]] = {
    "events": ("events", lambda run: EventWriter(run.events(), 1)),
    "claim": ("attempts", lambda run: claim_attempt(run, AttemptRecord(2))),
    "old requests": ("control", lambda run: launch._announce(run, 1)),
    "seat": ("control", lambda run: multinode.take_seat(run, 1, 2)),
    "JSON": ("attempts", lambda run: write_json(run.attempt(1), {}, below=run.path)),
    "log": ("ranks", lambda run: launch._appending(run, run.stdout())),
    "TensorBoard": ("tensorboard", lambda run: TensorBoardLog(run.tensorboard, 1)),
    "leftovers": ("checkpoints", lambda run: checkpoint.remove_leftovers(run.checkpoints)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_or_deleted_through_a_link_in_the_place_of_a_folder(
    make_run: MakeRun, elsewhere: Path, name: str
) -> None:
    run = make_run("job", status="failed")
    folder, write = WRITERS[name]
    replace_by_link(run.path / folder, elsewhere)
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
def test_a_link_or_a_named_pipe_in_the_place_of_a_file_is_refused_at_once(
    make_run: MakeRun, elsewhere: Path, write: Callable[[RunDirectory], object]
) -> None:
    run = make_run("job")
    run.events().symlink_to(elsewhere / "thesis.txt")
    with pytest.raises(OSError, match="a link or a special file"):
        write(run)
    run.events().unlink()
    os.mkfifo(run.events())
    with pytest.raises(OSError, match="a link or a special file"):
        write(run)
    assert (elsewhere / "thesis.txt").read_text() == "first line\nsecond li"


def test_the_journal_of_a_run_whose_folder_of_attempts_is_a_link_writes_nothing_there(
    make_run: MakeRun, elsewhere: Path
) -> None:
    run = make_run("job")
    replace_by_link(run.attempts, elsewhere)
    before = contents(elsewhere)
    with pytest.raises(OSError, match="a link or a special file"):  # a newer attempt may be claimed there
        Journal(run, load_summary(run), 1).end("stopped", "")
    assert contents(elsewhere) == before


def test_a_file_that_is_a_link_is_replaced_and_its_target_stays(make_run: MakeRun, elsewhere: Path) -> None:
    run = make_run("job", attempt={})
    run.attempt(1).symlink_to(elsewhere / "thesis.txt")
    write_json(run.attempt(1), {"pid": 1}, below=run.path)
    assert not run.attempt(1).is_symlink()
    assert (elsewhere / "thesis.txt").read_text() == "first line\nsecond li"


def test_leftovers_that_are_links_are_removed_and_their_targets_stay(make_run: MakeRun, elsewhere: Path) -> None:
    run = make_run("job")
    (run.checkpoints / "step-00000003.tmp").symlink_to(elsewhere)
    before = contents(elsewhere)
    checkpoint.remove_leftovers(run.checkpoints)
    assert list(run.checkpoints.iterdir()) == []
    assert contents(elsewhere) == before


def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(OSError, match="a link or a special file"):
        inside.touch(tmp_path / "run" / ".." / "outside", tmp_path / "run")
    assert not (tmp_path / "outside").exists()


def test_the_folder_of_a_run_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EventWriter(RunDirectory(tmp_path / "removed").events(), 1)
    assert not (tmp_path / "removed").exists()


def test_a_run_is_written_through_the_user_s_own_link_to_it(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("job")
    link = tmp_path / "by-a-link"
    link.symlink_to(run.path)
    EventWriter(RunDirectory(link).events(), 1).close()
    board = TensorBoardLog(RunDirectory(link).tensorboard, 1)
    board.scalars(1, {"loss": 1.0})
    board.close()
    assert run.events().is_file()
    assert len(list(run.tensorboard.iterdir())) == 1
