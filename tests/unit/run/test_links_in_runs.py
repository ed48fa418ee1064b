"""Foreign runs with links in place of files that a run writes: nothing is done through them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run import control, start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, refuse_links
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import judge

MakeRun = Callable[..., RunDirectory]
Acts = tuple[Callable[[RunDirectory], object], ...]
TO_FILES = ("events/rank0.jsonl", "ranks/0/stdout.log", "control/attempt-2", "control/stop", "control/kill")
TO_FOLDERS = ("checkpoints", "checkpoints/best", "tensorboard", "control", "events", "ranks", "ranks/0")
RESUME: Acts = (start.begin, launch.start)
STOP: Acts = (control.request_stop, lambda run: control.stop(run, patience_s=0.0))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Targets of links: a file whose last line is incomplete, and what looks like leftovers of a save."""
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    folder = tmp_path / "elsewhere"
    (folder / "step-00000001.tmp").mkdir(parents=True)
    (folder / "thesis.txt").write_text("first line\nsecond li")
    return folder


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: targets of links, and contents of files."""
    paths = [Path(root, name) for root, folders, files in os.walk(folder) for name in (*folders, *files)]
    return {
        str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        for path in paths
    }


def link(run: RunDirectory, name: str, target: Path) -> None:
    path = run.path / name
    if path.is_dir():
        path.rename(run.path.parent / "put-aside")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("acts", "name"), [*((RESUME, name) for name in TO_FILES + TO_FOLDERS), (STOP, TO_FILES[0]), (STOP, TO_FOLDERS[0])]
)
def test_a_run_with_a_link_is_not_resumed_or_stopped_and_nothing_is_written_or_deleted(
    make_run: MakeRun, elsewhere: Path, tmp_path: Path, ended_pid: int, name: str, acts: Acts
) -> None:
    run = make_run("job", status="failed", attempt={"pid": ended_pid}) if acts is RESUME else make_run("job")
    link(run, name, elsewhere if name in TO_FOLDERS else elsewhere / "thesis.txt")
    before = tree(tmp_path)
    for act in acts:
        with pytest.raises(RunError, match=f"job: {name} is a link, which no run makes: remove it first"):
            act(run)
        assert tree(tmp_path) == before


def test_neither_stop_nor_kill_creates_a_file_through_a_dangling_link(
    make_run: MakeRun, elsewhere: Path, ended_pid: int
) -> None:
    run = make_run("job", status="running", attempt={"host": "another.example", "boot": "another"})
    link(run, "control/stop", elsewhere / "new")
    with pytest.raises(RunError, match="control/stop is a link"):
        control.request_stop(run)
    alone = make_run("alone", attempt={"pid": ended_pid})
    link(alone, "control/kill", elsewhere / "new")
    assert control.kill(alone).status == "killed" == judge(alone).status
    assert not (elsewhere / "new").exists()


def test_a_named_pipe_is_refused_like_a_link(make_run: MakeRun) -> None:
    """Opening it would block for ever."""
    run = make_run("job")
    os.mkfifo(run.stdout())
    with pytest.raises(RunError, match=r"ranks/0/stdout\.log is neither a file nor a folder"):
        control.request_stop(run)


def test_links_to_a_run_and_in_places_where_it_does_not_write_are_allowed(
    make_run: MakeRun, elsewhere: Path, tmp_path: Path
) -> None:
    run = make_run("job")
    link(run, "notes", elsewhere)
    (tmp_path / "runs" / "by-a-link").symlink_to(run.path)
    refuse_links(RunDirectory(tmp_path / "runs" / "by-a-link"))
