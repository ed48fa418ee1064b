import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from rbp_engine.data.events.lock import AlreadyLocked, LockLost, lock
from rbp_engine.os_process import here, of


def test_a_held_lock_is_refused_with_its_holder_and_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with lock(path, wait=False):
        with pytest.raises(AlreadyLocked, match=f"process {os.getpid()} on"), lock(path, wait=False):
            pass
        assert path.exists()
    assert not path.exists()
    with lock(path, wait=False):
        pass


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lock_of_a_dead_process_is_taken_by_exactly_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text(json.dumps(asdict(of(dead_pid()))))
    inside, most, done = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, done
        with lock(path, wait=True):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1
            done += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, done) == (1, 8) and not path.exists()


def test_a_reused_pid_is_not_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text(json.dumps(asdict(here()) | {"started": 1}))
    with lock(path, wait=False):
        pass


def test_a_lock_of_another_host_is_respected_while_it_is_refreshed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text(json.dumps({"pid": dead_pid(), "started": 1.0, "host": "another"}))
    os.utime(path)
    with pytest.raises(AlreadyLocked, match="on another"), lock(path, wait=False):
        pass
    os.utime(path, (time.time() - 700, time.time() - 700))
    with lock(path, wait=False):
        pass


def test_a_damaged_lock_is_taken_once_its_writer_must_be_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.touch()
    with pytest.raises(AlreadyLocked), lock(path, wait=False):
        pass
    os.utime(path, (time.time() - 60, time.time() - 60))
    with lock(path, wait=False):
        pass


def test_a_lock_that_another_host_has_taken_over_stays_its_own(tmp_path: Path) -> None:
    """This process was silent for ten minutes, as one that is frozen."""
    path = tmp_path / "a.lock"
    with pytest.raises(LockLost, match=r"taken over by process 7 on another, .*again"), lock(path, wait=False) as held:
        held.beat()
        path.unlink()
        path.write_text(json.dumps({"pid": 7, "started": 1.0, "host": "another"}))
        held.beat()
    assert "another" in path.read_text()


def test_the_holder_refreshes_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with lock(path, wait=False) as held:
        os.utime(path, (0, 0))
        held.beat()
        assert path.stat().st_mtime > 0
