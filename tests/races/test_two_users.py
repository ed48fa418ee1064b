"""Two users' queues on one machine: each waits for the devices that runs of the other have, and for nothing else.

Both are real users of the system, without accounts: processes that this one, root's, has forked and whose user it has
changed. Dispatcher, claims and holds are real; the interpreter that would start a run only stays alive.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from rbp_engine import owners
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.queue import holds, observe
from rbp_engine.run.queue.devices import Device, Pool
from rbp_engine.run.queue.dispatcher import Dispatcher
from rbp_engine.run.queue.entries import new_entry, write_entry
from rbp_engine.run.queue.holds import Holds, held_by_others
from rbp_engine.run.queue.observe import queued_runs
from tests.waiting import wait_for

ALICE, BOB = 54321, 54323  # no accounts have these numbers
FORK = multiprocessing.get_context("fork")
TRIALS = 40

pytestmark = [
    pytest.mark.root,
    pytest.mark.xdist_group("two users"),  # every process of the machine sees what one of them holds
]


def become(user, home):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    os.chdir(home)
    os.environ |= {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "RBP_CONFIG": str(home / "config")}


class User:
    """A process of a user, which does what it is asked, one thing after another."""

    def __init__(self, user, home, device):
        self.home, self.device = home, device
        self._here, there = FORK.Pipe()
        self._process = FORK.Process(target=self._serve, args=(user, there), daemon=True)
        self._process.start()

    def __call__(self, what):
        """The result of a function, in the user's process."""
        ACTS[what.__name__] = what
        self._here.send(what.__name__)
        return self._here.recv()

    def kill(self):
        self._process.kill()
        self._process.join(60)

    def _serve(self, user, asked):
        become(user, self.home)
        self.dispatcher = Dispatcher()
        while True:
            asked.send(ACTS[asked.recv()](self))


def submit(user):
    """Queue the run in the user's home."""
    entry = new_entry(RunDirectory(user.home / "runs" / "run"), Asked(dispatch=Dispatch("none")), after=1)
    write_entry(replace(entry, python=str(user.home / "python"), directory="/"))


def look(user):
    """Let the dispatcher look; the processes that it has started."""
    user.dispatcher.look()
    return [child.pid for child in psutil.Process().children()]


def waits(user):
    return [queued.held for queued in queued_runs()]


def turn_off(user):
    (user.home / "config").mkdir()
    (user.home / "config" / "machine.toml").write_text("share_devices = false\n")


ACTS = {act.__name__: act for act in (submit, look, waits, turn_off)}


@pytest.fixture
def device():
    """A device that nobody else on this machine has."""
    return f"test-{os.getpid()}"


@pytest.fixture
def warm(write_run, tmp_path, device, monkeypatch):
    """Import in this process whatever the users' processes need: they need not be able to read this Python.

    They are forked from it, and have only the device.
    """
    monkeypatch.setattr(observe, "pool_here", lambda *asked: Pool((Device(device),), 1))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    me = SimpleNamespace(home=tmp_path, dispatcher=Dispatcher())
    write_run(tmp_path / "runs", "run", status="queued")
    (tmp_path / "python").symlink_to("/bin/true")
    turn_off(me)
    submit(me)
    look(me)
    waits(me)
    (tmp_path / "config" / "machine.toml").unlink()
    owners.name_of(ALICE)


@pytest.fixture
def users(write_run, device, warm):
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    made = []
    for user in (ALICE, BOB):
        home = base / str(user)
        write_run(home / "runs", "run", status="queued")
        python = home / "python"
        python.write_text("#!/bin/sh\nexec sleep 1000\n")
        python.chmod(0o755)
        for path in (home, *home.rglob("*")):
            os.chown(path, user, user)
        made.append(User(user, home, device))
    yield made[0], made[1]
    for one in made:
        one.kill()
    for process in psutil.process_iter(["environ"]):  # not all of these users': other tests act as them, too
        if (process.info["environ"] or {}).get("HOME", "").startswith(f"{base}/"):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    shutil.rmtree(base)


def test_a_queue_waits_for_the_device_of_another_user_until_that_run_is_gone(users):
    alice, bob = users
    alice(submit)
    bob(submit)
    (starter,) = alice(look)
    assert bob(look) == []
    assert bob(waits) == [{bob.device.replace("-", " "): "user 54321"}]
    alice.kill()  # the run that it has started goes on, and holds the device
    assert bob(look) == []
    os.kill(starter, signal.SIGKILL)
    assert len(wait_for(lambda: bob(look))) == 1 and bob(waits) == [{bob.device.replace("-", " "): "run"}]


def test_a_user_who_has_turned_it_off_neither_waits_nor_is_waited_for(users):
    alice, bob = users
    bob(turn_off)
    for user in users:
        user(submit)
    assert len(bob(look)) == 1
    assert len(alice(look)) == 1


def race(user, home, device, start, taken):
    become(user, home)
    mine = Holds()
    for trial in range(TRIALS):
        start.wait(60)
        taken.put((trial, mine.take([device]) == ""))
        start.wait(60)
        mine.keep_only(())


@pytest.mark.usefixtures("warm")
def test_two_users_who_ask_at_once_never_both_get_a_device(device):
    start, taken = FORK.Barrier(2), FORK.Queue()
    racers = [
        FORK.Process(target=race, args=(user, Path("/"), device, start, taken), daemon=True) for user in (ALICE, BOB)
    ]
    for racer in racers:
        racer.start()
    found = [taken.get(timeout=60) for _ in range(2 * TRIALS)]
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    got = [sum(has for trial, has in found if trial == number) for number in range(TRIALS)]
    assert set(got) <= {0, 1}  # both may give way, and ask again


@pytest.mark.usefixtures("warm")
def test_a_hold_ends_with_the_last_process_that_has_it(device):
    def hold(user, ready):
        become(user, Path("/"))
        mine = Holds()
        mine.take([device])
        ready.send(mine.descriptors([device]))
        time.sleep(1000)

    here, there = FORK.Pipe()
    holder = FORK.Process(target=hold, args=(ALICE, there), daemon=True)
    holder.start()
    assert len(here.recv()) == 1
    assert held_by_others([device, "another"]) == {device: "user 54321"}
    holder.kill()
    holder.join(60)
    assert held_by_others([device]) == {}


def test_a_hold_behind_a_million_sockets_of_others_is_seen(device, tmp_path, monkeypatch):
    sockets = tmp_path / "unix"
    with sockets.open("wb") as file:
        flood = b"0000000000000000: 00000003 00000000 00000000 0001 03 123456 @flood/%s\n" % (b"x" * 100)
        file.writelines([flood * 1000] * 1000)
        file.write(b"0000000000000000: 00000002 00000000 00000000 0002 01 123456 @rbp-device/")
        file.write(f"{device}/{ALICE}/{'a' * 16}\n".encode())
    monkeypatch.setattr(holds, "SOCKETS", sockets)
    assert held_by_others([device]) == {device: "user 54321"}


def test_devices_of_which_nobody_can_tell_who_holds_them_are_not_free(device, tmp_path, monkeypatch):
    monkeypatch.setattr(holds, "SOCKETS", tmp_path / "missing")
    why = f"perhaps somebody: {tmp_path}/missing cannot be read: No such file or directory"
    assert held_by_others([device]) == {device: why}
    assert Holds().take([device]).startswith("perhaps somebody")


def test_names_that_others_make_up_only_say_that_a_device_is_held(device):
    up = f"../../{device}"
    odd = [f"rbp-device/{device}/{ALICE}/nonsense", f"rbp-device/{up}/{ALICE}/{'a' * 16}", f"rbp-device/{device}/"]
    forged = f"rbp-device/{device}/99999/{'b' * 16}"
    made = []
    for name in (*odd, f"rbp-device/{device}/{os.geteuid()}/{'c' * 16}", forged):
        made.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        made[-1].bind(f"\0{name}")
        expected = {device: "user 99999"} if name == forged else {}  # one's own name is never waited for
        assert held_by_others([device, up]) == expected
    for one in made:
        one.close()
    assert holds.inherited() == ()
