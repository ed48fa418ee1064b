"""What runs use on the disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store import disk_use
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.store.trash import move_to_trash
from rbp_tui.dashboard.reading import run_sizes
from rbp_tui.dashboard.reading.run_sizes import RunSizer

MIB = 2**20


def fill(run: RunDirectory, size: int) -> None:
    (run.checkpoints / f"{size}").write_bytes(bytes(size))


def test_files_are_added_up_by_run_without_following_links(
    tmp_path: Path, write_run: Callable[..., RunDirectory]
) -> None:
    runs = tmp_path / "runs"
    one, two = write_run(runs, "one"), write_run(runs, "two")
    fill(one, 3 * MIB)
    (tmp_path / "large").write_bytes(bytes(8 * MIB))
    (two.checkpoints / "link").symlink_to(tmp_path / "large")
    (two.checkpoints / "loop").symlink_to(two.path)
    found = RunSizer(runs).read(list_runs(runs), 5.0)
    assert 3 * MIB <= found.sizes["one"] < 4 * MIB and found.sizes["two"] < MIB
    assert found.total == sum(found.sizes.values()) and (found.missing, found.trash) == (0, 0)


def test_the_trash_is_added_up_too(tmp_path: Path, write_run: Callable[..., RunDirectory]) -> None:
    run = write_run(tmp_path / "runs", "one")
    fill(run, 2 * MIB)
    move_to_trash(run)
    found = RunSizer(tmp_path / "runs").read([], 5.0)
    assert found.sizes == {} and found.trash >= 2 * MIB


def test_what_does_not_fit_into_a_turn_is_said_to_be_missing(
    tmp_path: Path, write_run: Callable[..., RunDirectory]
) -> None:
    for name in ("one", "two"):
        write_run(tmp_path, name)
    sizer = RunSizer(tmp_path)
    assert sizer.read(list_runs(tmp_path), -1.0).missing == 2
    assert sizer.read(list_runs(tmp_path), 5.0).missing == 0


def test_a_run_is_looked_at_again_only_after_a_change_and_a_while(
    tmp_path: Path, write_run: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path, "one")
    sizer, records = RunSizer(tmp_path), list_runs(tmp_path)
    before = sizer.read(records, 5.0).sizes["one"]
    fill(run, 2 * MIB)
    assert sizer.read(records, 5.0).sizes["one"] == before
    monkeypatch.setattr(run_sizes, "LOOK_AGAIN_AFTER_S", 0.0)
    assert sizer.read(records, 5.0).sizes["one"] >= before + 2 * MIB


def test_at_most_so_many_files_are_looked_at(
    tmp_path: Path, write_run: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path, "one")
    for number in range(20):
        (run.checkpoints / f"{number}").write_bytes(bytes(MIB // 4))
    monkeypatch.setattr(disk_use, "MOST_FILES", 10)
    assert RunSizer(tmp_path).read(list_runs(tmp_path), 5.0).sizes["one"] < 10 * MIB // 4
