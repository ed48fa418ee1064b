"""What runs use on the disk, and checkpoints that a rule removes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.store.disk_use import disk_use, freed_by, known_disk_use
from rbp_engine.run.store.prune import Pruning, plan_pruning, prune
from rbp_engine.run.store.store import record
from tests.run_files import write_manifest

MakeRun = Callable[..., RunDirectory]
MIB = 2**20


def add_checkpoint(run: RunDirectory, name: str, *, like: str = "", whole: bool = True) -> None:
    """A checkpoint of a MiB, or one of the same files as another."""
    folder = run.checkpoints / name
    folder.mkdir(parents=True)
    if like:
        os.link(run.checkpoints / like / "model.safetensors", folder / "model.safetensors")
    else:
        (folder / "model.safetensors").write_bytes(os.urandom(MIB))
    if whole:
        write_manifest(folder)


def trained(make_run: MakeRun, status: str = "completed") -> RunDirectory:
    """A run with three checkpoints, the second of which is the best."""
    run = make_run(status=status)
    for step in (10, 20, 30):
        add_checkpoint(run, f"step-{step:08d}")
    add_checkpoint(run, "best", like="step-00000020")
    return run


def left(run: RunDirectory) -> set[str]:
    return {path.name for path in run.checkpoints.iterdir()}


def plan(run: RunDirectory, keep: str) -> Pruning:
    return plan_pruning(record(run), keep_best="best" in keep, keep_last="last" in keep)


@pytest.mark.parametrize(
    ("status", "keep", "stays", "frees"),
    [
        ("completed", "best last", "best step-00000030", 1),
        ("completed", "best", "best", 2),
        ("completed", "last", "step-00000030", 2),
        ("completed", "", "", 3),
        ("stopped", "", "best step-00000010 step-00000020 step-00000030", 0),
        ("running", "", "best step-00000010 step-00000020 step-00000030", 0),
    ],
)
def test_a_rule_keeps_what_it_says_of_completed_runs_and_all_of_others(make_run, status, keep, stays, frees):
    run = trained(make_run, status)
    before, planned = disk_use(run.path), plan(run, keep)
    assert left(run) == {"best", "step-00000010", "step-00000020", "step-00000030"}  # a plan changes nothing
    assert frees * MIB <= planned.frees < (frees + 1) * MIB
    assert bool(planned.why_more) is (status != "completed")
    if planned.removed:
        prune(planned)
    assert left(run) == set(stays.split())
    assert before - disk_use(run.path) == planned.frees


def test_what_a_rule_keeps_is_whole_and_what_no_checkpoint_is_stays(make_run, tmp_path):
    run = make_run(status="completed")
    add_checkpoint(run, "step-00000010")
    add_checkpoint(run, "step-00000020", whole=False)
    add_checkpoint(run, "best", whole=False)
    add_checkpoint(run, "step-00000030.tmp", whole=False)
    add_checkpoint(run, "mine")
    (tmp_path / "elsewhere").mkdir()
    (run.checkpoints / "step-00000040").symlink_to(tmp_path / "elsewhere")
    planned = plan(run, "best")
    assert "no other whole checkpoint than step-00000010" in planned.why_more
    prune(planned)
    assert left(run) == {"step-00000010", "mine", "step-00000040"} and (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("damaged", ["best", "step-00000030"])
def test_a_checkpoint_that_has_lost_its_weights_is_not_what_stays(make_run, damaged):
    run = make_run(status="completed")
    for name in ("step-00000020", "step-00000030", "best"):
        add_checkpoint(run, name)
    (run.checkpoints / damaged / "model.safetensors").write_bytes(b"")  # as after a power cut
    prune(plan(run, "best" if damaged == "best" else "last"))
    assert left(run) == {"step-00000030" if damaged == "best" else "step-00000020"}


@pytest.mark.parametrize("unreadable", ["", "step-00000030", "step-00000030/manifest.json"])
def test_nothing_goes_of_a_run_of_which_something_cannot_be_read(make_run, without_privileges, unreadable):
    run = trained(make_run)
    (run.checkpoints / unreadable).chmod(0)
    planned, size = plan(run, "last"), known_disk_use(run)
    (run.checkpoints / unreadable).chmod(0o755)
    assert (
        planned.removed == ()
        and f"{Path('checkpoints') / unreadable}".removesuffix("/manifest.json") in planned.why_more
    )
    assert planned.why_more.endswith("cannot be read (Permission denied)")
    assert (size is None) is (unreadable != "step-00000030/manifest.json")


def test_nothing_goes_of_a_run_with_folders_that_are_very_deep_in_each_other(make_run, nest):
    run = trained(make_run)
    nest(run.tensorboard.parent)
    assert "has folders more than 64 deep in each other" in plan(run, "last").why_more
    assert known_disk_use(run) is None


def test_a_checkpoint_that_cannot_be_removed_is_an_error(make_run, without_privileges):
    run = trained(make_run)
    (run.checkpoints / "step-00000010").chmod(0o555)
    with pytest.raises(RunError, match=f"cannot remove checkpoints of {run.id}: Permission denied"):
        prune(plan(run, "last"))


def test_a_folder_of_checkpoints_that_is_a_link_is_left_alone(make_run, tmp_path):
    run = trained(make_run)
    planned = plan(run, "")
    run.checkpoints.rename(tmp_path / "other")
    run.checkpoints.symlink_to(tmp_path / "other")
    assert plan(run, "").removed == ()
    with pytest.raises(RunError, match="a link or a special file"):
        prune(planned)
    assert len(left(run)) == 4
    assert disk_use(run.path) < MIB


def test_a_run_that_has_been_started_since_is_not_pruned(make_run):
    run = trained(make_run)
    planned = plan(run, "")
    write_status(run, "running")
    with pytest.raises(RunError, match="is running: stop or kill it first"):
        prune(planned)
    write_status(run, "stopped")
    with pytest.raises(RunError, match="no longer completed"):
        prune(planned)
    assert len(left(run)) == 4


def test_no_file_of_a_run_counts_twice_in_what_it_uses(make_run):
    run = trained(make_run)
    (run.tensorboard).mkdir()
    for path, size in ((run.tensorboard / "e", 2), (run.events(), 3), (run.stdout(), 4), (run.path / "more", 5)):
        path.write_bytes(os.urandom(size * MIB))
    assert disk_use(run.path) // MIB == known_disk_use(run) // MIB == 17  # with 3 of checkpoints
    prune(plan(run, "best"))
    assert known_disk_use(run) // MIB == 15


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12, unique=True), st.sets(st.integers(0, 3)))
def test_only_files_that_lose_their_last_name_free_room(tmp_path_factory, names, removed):
    """Random files with random names in four folders: compared with what is left when the folders are gone."""
    root = tmp_path_factory.mktemp("links")
    for folder in range(4):
        (root / str(folder)).mkdir()
    first: dict[int, Path] = {}
    for folder, file in names:
        path = root / str(folder) / str(file)
        if file in first:
            os.link(first[file], path)
        else:
            first[file] = path
            path.write_bytes(bytes([1]) * (file + 1) * 5000)
    blocks = {file: first[file].stat().st_blocks * 512 for file in first}
    gone = {file for file in first if all(folder in removed for folder, other in names if other == file)}
    assert freed_by(root / str(folder) for folder in removed) == sum(blocks[file] for file in gone)
