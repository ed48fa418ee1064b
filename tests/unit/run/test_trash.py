import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.store.trash import empty_trash, list_trash, move_to_trash, restore, trash_directory

MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_goes_to_the_trash_and_comes_back_unchanged(make_run: MakeRun, runs: Path) -> None:
    run = make_run("mine", status="completed")
    before = files(run.path)
    trashed = move_to_trash(run)
    assert list_runs(runs) == [] and list(runs.iterdir()) == []
    assert trashed.run.path == runs.with_name("runs.trash") / "mine"
    assert abs(trashed.removed - time.time()) < 60
    assert restore(runs, "mine") == run
    assert files(run.path) == before and list_trash(runs) == []


@pytest.mark.parametrize("status", ["starting", "running"])
def test_a_live_run_stays_where_it_is(make_run: MakeRun, status: str) -> None:
    run = make_run(status=status)
    with pytest.raises(RunError, match="stop or kill it first"):
        move_to_trash(run)
    assert run.summary_json.is_file() and not trash_directory(run.path.parent).exists()


def test_the_trash_can_have_runs_with_the_same_id_and_restores_the_last_removed(make_run: MakeRun, runs: Path) -> None:
    for seed in (1, 2):
        move_to_trash(make_run("job", status="stopped", seed=seed))
        time.sleep(0.01)
    assert [entry.id for entry in list_trash(runs)] == ["job", "job"]
    back = restore(runs, "job")
    assert [entry.summary.seed for entry in list_runs(runs)] == [2]
    with pytest.raises(RunError, match="exists"):
        restore(runs, "job")
    assert back.path.is_dir() and len(list_trash(runs)) == 1


def test_last_means_the_run_removed_last(make_run: MakeRun, runs: Path) -> None:
    newer, older = make_run("newer", status="stopped", created=2.0), make_run("older", status="stopped", created=1.0)
    move_to_trash(newer)
    time.sleep(0.01)
    move_to_trash(older)
    assert restore(runs, "last").id == "older"


@pytest.mark.parametrize("reference", ["nothing", "../runs/mine", "", "last"])
def test_what_is_not_in_the_trash_cannot_be_restored(make_run: MakeRun, runs: Path, reference: str) -> None:
    make_run("mine", status="completed")
    with pytest.raises(RunError):
        restore(runs, reference)


def test_the_id_in_run_json_cannot_redirect_a_restore(make_run: MakeRun, runs: Path) -> None:
    run = make_run("mine", status="completed")
    run.run_json.write_text('{"id": "../../elsewhere"}')
    move_to_trash(run)
    assert restore(runs, "mine").path == runs / "mine"


def test_emptying_deletes_everything_and_returns_the_count(make_run: MakeRun, runs: Path) -> None:
    make_run("stays", status="completed")
    for name in ("a", "b"):
        move_to_trash(make_run(name, status="completed"))
    assert (empty_trash(runs), empty_trash(runs)) == (2, 0)
    assert [path.name for path in runs.parent.iterdir()] == ["runs"]
    assert [entry.run.id for entry in list_runs(runs)] == ["stays"]


def test_the_trash_of_a_linked_runs_directory_is_next_to_its_target(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("mine", status="completed")
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "runs")
    move_to_trash(RunDirectory(link / "mine"))
    assert (tmp_path / "runs.trash" / "mine").is_dir()
    assert restore(link, "mine") == RunDirectory(link / "mine") and run.path.is_dir()


def test_without_a_trash_folder_the_run_stays_and_the_error_names_the_alternative(
    make_run: MakeRun, runs: Path
) -> None:
    run = make_run("mine", status="completed")
    runs.with_name("runs.trash").write_text("a file")
    with pytest.raises(RunError, match="rbp runs rm --now mine"):
        move_to_trash(run)
    assert run.summary_json.is_file()
