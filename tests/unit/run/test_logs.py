"""Which files hold the output of a run's processes."""

import os
from pathlib import Path

import pytest

from rbp_engine.run.files.events import RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.log_files import log_files, named_folders
from tests.run_files import tell, write_attempt


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "r")
    directory.stdout().parent.mkdir(parents=True)
    return directory


def torchrun_folder(run: RunDirectory, name: str, made: float, ranks: int = 2) -> Path:
    """The logs that torchrun creates, created at that time."""
    folder = run.ranks / name / "attempt_0"
    for rank in range(ranks):
        (folder / str(rank)).mkdir(parents=True)
        for stream in ("stdout.log", "stderr.log"):
            (folder / str(rank) / stream).touch()
    os.utime(folder, (made, made))
    return folder


def test_a_single_process_has_its_two_streams_once_it_has_written(run):
    assert log_files(run) == {}
    assert log_files(RunDirectory(Path("/nowhere"))) == {}
    run.stdout().touch()
    assert log_files(run) == {"0": (run.stdout(),)}
    run.stderr().touch()
    assert log_files(run) == {"0": (run.stdout(), run.stderr())}


def attempt_of(run: RunDirectory, number: int, t: float) -> None:
    """The record of an attempt with many processes."""
    for before in range(1, number):
        write_attempt(run, before)
    write_attempt(run, number, t=t, resources={"processes": 2})


def test_under_torchrun_each_rank_and_the_launcher_have_logs(run):
    attempt_of(run, 1, 99.5)
    folder = torchrun_folder(run, "r_x1", 100.0, ranks=11)
    launcher = run.ranks / "launcher-1-node0.log"
    launcher.touch()
    found = log_files(run)
    assert list(found) == [*map(str, range(11)), "launcher"]
    assert found["10"] == (folder / "10" / "stdout.log", folder / "10" / "stderr.log")
    assert found["launcher"] == (launcher,)


def test_the_logs_are_those_of_the_newest_attempt(run):
    torchrun_folder(run, "r_a", 100.0)
    newest = torchrun_folder(run, "r_b", 200.0)
    attempt_of(run, 2, 200.5)
    assert log_files(run)["0"][0].parent == newest / "0"


def test_processes_of_several_nodes_are_named_by_node(run):
    attempt_of(run, 1, 100.0)
    torchrun_folder(run, "r_a", 101.0)
    torchrun_folder(run, "r_b", 102.0)
    assert list(log_files(run)) == ["0.0", "0.1", "1.0", "1.1"]


def test_a_folder_named_by_a_rank_is_used_if_it_is_inside_the_run(run):
    attempt_of(run, 1, 100.0)
    first, second = (torchrun_folder(run, name, 101.0, ranks=1) / "0" for name in ("r_a", "r_b"))
    outside = run.path.parent / "elsewhere"
    outside.mkdir()
    (outside / "stdout.log").touch()
    for rank, folder in enumerate((first.relative_to(run.path), second.relative_to(run.path), "../elsewhere")):
        tell(run, RunStart(world_size=3, logs=str(folder)), rank=rank)
    named = named_folders(run)
    assert named[2] == "../elsewhere"
    found = log_files(run, named)
    assert {name: files[0].parent for name, files in found.items()} == {"0": first, "1": second}
