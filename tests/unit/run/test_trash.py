import functools
import itertools
import shutil
import time

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.store.trash import empty_trash, list_trash, move_to_trash, remove_run, restore, trash_directory
from tests.limits import survives
from tests.run_files import contents


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def test_a_run_goes_to_the_trash_and_comes_back_unchanged(make_run, runs):
    run = make_run("mine", status="completed")
    before = contents(run.path)
    trashed = move_to_trash(run)
    assert list_runs(runs) == [] and list(runs.iterdir()) == []
    assert trashed.run.path == runs.with_name("runs.trash") / "mine"
    assert abs(trashed.removed - time.time()) < 60
    assert restore(runs, "mine") == run
    assert contents(run.path) == before and list_trash(runs) == []


@pytest.mark.parametrize("status", ["starting", "running"])
def test_a_live_run_stays_where_it_is(make_run, status):
    run = make_run(status=status)
    for remove in (move_to_trash, remove_run):
        with pytest.raises(RunError, match=f"is {status}: stop or kill it first"):
            remove(run)
    assert run.summary_json.is_file() and not trash_directory(run.path.parent).exists()


def test_the_trash_can_have_runs_with_the_same_id_and_restores_the_last_removed(make_run, runs):
    for seed in (1, 2):
        move_to_trash(make_run("job", status="stopped", seed=seed))
        time.sleep(0.01)
    assert [entry.id for entry in list_trash(runs)] == ["job", "job"]
    back = restore(runs, "job")
    assert [entry.summary.seed for entry in list_runs(runs)] == [2]
    with pytest.raises(RunError, match="exists"):
        restore(runs, "job")
    assert back.path.is_dir() and len(list_trash(runs)) == 1
    move_to_trash(make_run("older", status="stopped", created=1.0))
    assert restore(runs, "last").id == "older"  # removed last


def test_a_run_is_called_as_its_folder_also_a_copy_and_whatever_its_run_json_says(make_run, runs):
    copy = RunDirectory(runs / "mycopy")
    shutil.copytree(make_run("orig", status="completed").path, copy.path)
    assert [entry.summary.id for entry in list_runs(runs)] == ["mycopy", "orig"]
    assert move_to_trash(copy).id == "mycopy"
    assert restore(runs, "mycopy") == copy and copy.path.is_dir()
    run = make_run("mine", status="completed")
    run.run_json.write_text('{"id": "../../elsewhere"}')
    move_to_trash(run)
    assert restore(runs, "mine").path == runs / "mine"


def test_a_copy_keeps_its_name_whatever_that_is_also_beside_another_in_the_trash(make_run, runs):
    original = make_run("orig", status="completed")
    for _ in range(2):
        shutil.copytree(original.path, runs / "orig.3f2a")
        assert move_to_trash(RunDirectory(runs / "orig.3f2a")).id == "orig.3f2a"
    move_to_trash(original)
    assert sorted(entry.id for entry in list_trash(runs)) == ["orig", "orig.3f2a", "orig.3f2a"]
    assert [restore(runs, name).id for name in ("orig", "orig.3f2a")] == ["orig", "orig.3f2a"]


@pytest.mark.parametrize("reference", ["nothing", "../runs/mine", "", "last"])
def test_what_is_not_in_the_trash_cannot_be_restored(make_run, runs, reference):
    make_run("mine", status="completed")
    with pytest.raises(RunError):
        restore(runs, reference)


def test_the_trash_of_a_linked_runs_directory_is_next_to_its_target(make_run, tmp_path):
    run = make_run("mine", status="completed")
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "runs")
    move_to_trash(RunDirectory(link / "mine"))
    assert (tmp_path / "runs.trash" / "mine").is_dir()
    assert restore(link, "mine") == RunDirectory(link / "mine") and run.path.is_dir()


def test_without_a_trash_folder_a_run_stays_and_the_alternative_removes_it_where_it_is(make_run, runs):
    run = make_run("mine", status="completed")
    runs.with_name("runs.trash").write_text("a file")
    with pytest.raises(RunError, match="rbp runs rm --now mine"):
        move_to_trash(run)
    assert run.summary_json.is_file()
    remove_run(run)
    assert not run.path.exists()


@pytest.mark.parametrize("trashed", [False, True], ids=["rm --now", "trash --empty"])
def test_what_a_killed_removal_leaves_is_listed_and_can_be_removed(make_run, runs, trashed):
    for removals in itertools.count():
        run = make_run("mine", status="completed")
        if trashed:
            move_to_trash(run)
        listed = list_trash(runs)
        remove = functools.partial(empty_trash, runs, listed) if trashed else functools.partial(remove_run, run)
        if survives(remove, removals, "unlink", "rmdir"):
            break
        assert list(runs.iterdir()) == []
        left = [path.name for path in trash_directory(runs).iterdir()]
        assert left == [entry.run.id for entry in list_trash(runs)] == ["mine"]
        assert sorted(path.name for path in runs.parent.iterdir()) == ["runs", "runs.trash"]
        assert empty_trash(runs, list_trash(runs)) == 1
    assert removals > 5, "nothing was killed"
    assert list(runs.iterdir()) == [] and list_trash(runs) == []


def test_emptying_deletes_all_that_is_listed_and_nothing_that_links_lead_to(make_run, runs):
    make_run("stays", status="completed")
    for name in ("a", "b"):
        move_to_trash(make_run(name, status="completed"))
    (runs.parent / "precious").mkdir()
    (runs.parent / "precious" / "thesis.tex").write_text("mine")
    (trash_directory(runs) / "linked").symlink_to(runs.parent / "precious")
    (trash_directory(runs) / "notes").write_text("a file")
    assert empty_trash(runs, list_trash(runs)) == 3  # a linked folder counts as a run
    assert list_trash(runs) == [] and [entry.run.id for entry in list_runs(runs)] == ["stays"]
    assert (runs.parent / "precious" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("trashed", [False, True], ids=["rm --now", "trash --empty"])
def test_a_run_goes_however_deep_its_folders_are_in_each_other(make_run, runs, nest, trashed):
    (runs.parent / "precious").mkdir()
    (runs.parent / "precious" / "thesis.tex").write_text("mine")
    run = make_run("deep", status="completed")
    for folder in (run.ranks, run.tensorboard):
        folder.mkdir(exist_ok=True)
        nest(folder)
        (folder / ("a/" * 500) / "link").symlink_to(runs.parent / "precious")
    if trashed:
        move_to_trash(run)
        empty_trash(runs, list_trash(runs))
    else:
        remove_run(run)
    assert list(runs.iterdir()) == [] and list_trash(runs) == []
    assert (runs.parent / "precious" / "thesis.tex").read_text() == "mine"


def test_what_came_into_the_trash_after_it_was_listed_is_kept(make_run, runs):
    move_to_trash(make_run("old", status="completed"))
    listed = list_trash(runs)
    move_to_trash(make_run("new", status="completed"))
    assert empty_trash(runs, listed) == 1
    assert [entry.id for entry in list_trash(runs)] == ["new"]
