"""One process at a time holds a lease, and one that is killed no longer does, with the kernel's locks and without."""

import json
import multiprocessing
import os
import re
import signal
import stat
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from rbp_engine import lease, os_process
from rbp_engine.lease import LeaseHeld, holder, taken, try_take
from rbp_engine.os_process import Process, here
from tests.full_disk import files_of_at_most
from tests.other_machine import OtherMachine

FORK = multiprocessing.get_context("fork")
TRIALS = 30
TAKE = "import sys, pathlib; from rbp_engine.lease import *; p = pathlib.Path(sys.argv[1]); "


@pytest.fixture(params=["locks", "no locks that others see"])
def path(request, tmp_path, monkeypatch):
    """The file of a lease, on a file system as it is here, and as if it were one of another machine, by sshfs."""
    if request.param != "locks":
        apart(tmp_path, monkeypatch)
    return tmp_path / "a.lock"


def apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = folder / "mounts"
    mounts.write_text(re.sub(r" - \S+", " - fuse.sshfs", Path("/proc/self/mountinfo").read_text()))
    monkeypatch.setattr(lease, "MOUNTS", mounts)


@pytest.fixture
def without_locks(tmp_path, monkeypatch):
    apart(tmp_path, monkeypatch)
    return tmp_path / "a.lock"


def exclusive(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


@pytest.fixture
def other(path):
    """Take the lease in another process, which keeps it until it is killed; its pid."""
    begun = []

    def keep(ready: Any) -> None:
        kept = try_take(path)
        ready.send(kept is not None)
        signal.pause()

    def begin() -> int:
        mine, its = FORK.Pipe()
        begun.append(FORK.Process(target=keep, args=(its,), daemon=True))
        begun[-1].start()
        assert mine.recv()
        assert begun[-1].pid is not None
        return begun[-1].pid

    yield begin
    for process in begun:
        process.kill()
        process.join(60)


def test_a_lease_is_one_process_s_until_it_is_released(path):
    assert holder(path) is None
    first = try_take(path)
    assert first is not None and try_take(path) is None and holder(path) == here()
    first.release()
    assert holder(path) is None
    with taken(path):
        assert try_take(path) is None
    second = try_take(path)
    second.release()
    assert not exclusive(path).exists()


def test_a_process_that_is_killed_holds_nothing(path, other):
    pid = other()
    assert try_take(path) is None and holder(path) == os_process.of(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert holder(path) is None
    with taken(path, patience_s=0.0):
        assert holder(path) == here()


def test_whoever_has_waited_long_enough_is_told_who_holds_it(path, other):
    pid = other()
    with (
        pytest.raises(LeaseHeld, match=f"a.lock is held by process {pid} on .*: try again"),
        taken(path, patience_s=0.1),
    ):
        pass


def test_of_processes_and_threads_that_ask_at_once_one_has_it(path):
    mark, found = path.with_name("mark"), FORK.Queue()

    def race() -> None:
        done: list[None] = []

        def work() -> None:
            for _ in range(TRIALS):
                with taken(path):
                    mark.touch(exist_ok=False)
                    time.sleep(0.0005)
                    mark.unlink()
                    done.append(None)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        found.put(len(done))

    racers = [FORK.Process(target=race, daemon=True) for _ in range(3)]
    for racer in racers:
        racer.start()
    assert [found.get(timeout=90) for _ in racers] == [2 * TRIALS] * 3


def test_a_file_that_was_removed_before_it_is_locked_is_no_lease_of_its_path(tmp_path, monkeypatch):
    path, reaches_all = tmp_path / "a.lock", lease._reaches_all

    def remove(descriptor: int) -> bool:
        path.unlink()
        return reaches_all(descriptor)

    monkeypatch.setattr(lease, "_reaches_all", remove)
    assert try_take(path) is None
    monkeypatch.undo()
    assert try_take(path) is not None


def test_a_lease_in_a_folder_that_is_open_is_taken_there_and_never_through_a_link(path, tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    held = try_take(Path("a.lock"), descriptor)
    assert held is not None and try_take(path) is None and holder(Path("a.lock"), descriptor) == here()
    held.release()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        try_take(Path("a.lock"), descriptor)
    os.close(descriptor)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "boot": 7}', '{"odd": 1}'])
def test_without_locks_a_damaged_record_is_waited_for_and_its_file_named(without_locks, content):
    exclusive(without_locks).write_text(content)
    assert try_take(without_locks) is None and holder(without_locks) is not None
    message = (
        f"held by process .*: try again once that is done; if that process is gone for good, remove {without_locks}"
    )
    with pytest.raises(LeaseHeld, match=message), taken(without_locks, patience_s=0.0):
        pass


def test_without_locks_a_process_of_another_boot_is_never_taken_for_dead(without_locks):
    before = replace(here(), boot="another", started=7)
    exclusive(without_locks).write_text(json.dumps(asdict(before)))
    assert try_take(without_locks) is None and holder(without_locks) == before
    with (
        pytest.raises(LeaseHeld, match="before a restart or in another container"),
        taken(without_locks, patience_s=0.0),
    ):
        pass


def test_without_locks_at_most_one_of_several_takes_over_from_a_dead_process(without_locks):
    start, found = FORK.Barrier(4), FORK.Queue()

    def race() -> None:
        for trial in range(TRIALS):
            start.wait(60)
            got = try_take(without_locks)
            found.put((trial, got is not None))
            start.wait(60)
            if got is not None:
                exclusive(without_locks).write_text(json.dumps(asdict(replace(here(), started=7))))

    exclusive(without_locks).write_text(json.dumps(asdict(replace(here(), started=7))))
    racers = [FORK.Process(target=race, daemon=True) for _ in range(4)]
    for racer in racers:
        racer.start()
    got = [found.get(timeout=60) for _ in range(4 * TRIALS)]
    counts = [sum(has for trial, has in got if trial == number) for number in range(TRIALS)]
    assert set(counts) <= {0, 1} and sum(counts) > TRIALS / 2  # whoever comes at the wrong moment has to ask again


@pytest.mark.parametrize(
    ("mount", "reaches"),
    [
        ("ext4 /dev/sda1 rw,errors=remount-ro", True),
        ("overlay overlay rw,lowerdir=/a", True),
        ("nfs4 server:/home rw,vers=4.2,local_lock=none", True),
        ("nfs server:/home rw,vers=3,local_lock=flock", True),  # of which this is none
        ("nfs server:/home rw,vers=3,nolock,local_lock=all", False),
        ("nfs server:/home rw,vers=3,local_lock=posix", False),
        ("lustre mgs:/fs rw,flock", True),
        ("lustre mgs:/fs rw,localflock", False),
        ("cifs //server/home rw,nobrl", False),
        ("9p host rw,trans=virtio", False),
        ("fuse.sshfs box:/home rw", False),
        ("fuse.unheard-of x rw", False),
        ("fuseblk /dev/sdb1 rw", True),
        ("fuse.glusterfs server:/fs rw", True),
    ],
)
def test_a_lock_counts_where_all_machines_see_it(tmp_path, mount, reaches):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"21 1 0:5 / /other rw - tmpfs tmpfs rw\n22 1 8:1 / /home rw,relatime shared:1 - {mount}\n")
    assert lease._mount_reaches_all("22", mounts) is reaches
    assert not lease._mount_reaches_all("23", mounts)
    mounts.write_text("22 1 0:50 / /home rw - tmpfs tmpfs rw\n")  # the id of an earlier mount stands for this one now
    assert lease._mount_reaches_all("22", mounts)


@pytest.mark.root
def test_a_lease_of_another_machine_is_seen_and_free_once_that_is_switched_off(tmp_path):
    path = tmp_path / "a.lock"
    with OtherMachine(tmp_path / "box") as box:
        there = box.start_python(f"{TAKE}kept = try_take(p); print(kept is not None, flush=True); input()", str(path))
        assert there.stdout.readline() == b"True\n"
        found = holder(path)
        assert try_take(path) is None and found is not None and found.host == "box2" and not found.is_here
        said = rf"process {found.pid} on box2: try again once that is done$"
        with pytest.raises(LeaseHeld, match=said), taken(path, patience_s=0.0):
            pass
        box.switch_off()
        assert holder(path) is None
        box.start_again()
        held = try_take(path)
        assert held is not None
        assert box.python(f"{TAKE}print(try_take(p), holder(p).pid)", str(path)) == f"None {os.getpid()}\n"


@pytest.mark.root
def test_without_locks_another_machine_waits_and_says_for_whom(without_locks, tmp_path):
    seam = f"import pathlib; from rbp_engine import lease; lease.MOUNTS = pathlib.Path({str(lease.MOUNTS)!r}); "
    with OtherMachine(tmp_path / "box") as box, taken(without_locks):
        said = box.python(f"{seam}{TAKE}print(try_take(p), holder(p))", str(without_locks))
        assert said == f"None process {os.getpid()} on {here().host}\n"


def test_a_full_disk_takes_nobody_the_lock(tmp_path):
    path = tmp_path / "a.lock"
    path.touch()
    with files_of_at_most(0):
        held = try_take(path)
        assert held is not None and try_take(path) is None and holder(path) == Process()
        held.release()
    assert holder(path) is None


def test_the_file_of_a_lease_is_for_whom_the_umask_lets_in(path):
    """Users of one group share runs, and a lease that others may not open would be the first one's for ever."""
    before = os.umask(0o002)
    try:
        with taken(path):
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("a.lock*")}
    finally:
        os.umask(before)
    assert modes == {0o664}
